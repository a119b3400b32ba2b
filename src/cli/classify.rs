//! `copydesk classify`: articles in, answers out, in the order of the input.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use futures_util::StreamExt;

use super::input::{self, Item};
use super::setup::{ModelArguments, runtime};
use super::{Failure, warn};
use crate::answer::{Event, Sentence, Summary, json};
use crate::article::{Article, Parties, Party};
use crate::classifier::{Classifier, ClassifyError, Options};
use crate::engine::EngineError;
#[cfg(feature = "grpc")]
use crate::grpc::client;
use crate::render;

/// Arguments of `classify`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Files of plain text or JSON Lines; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How answers are written: a page to read, or JSON Lines.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// How input is read.
    #[arg(long, value_enum, default_value_t = input::Format::Auto)]
    input_format: input::Format,

    /// A party to judge, as NAME or NAME=ALIAS,ALIAS; may be repeated. Other parties are then not
    /// looked for. Articles that name their own parties keep them.
    #[arg(long, value_name = "NAME[=ALIAS,…]")]
    party: Vec<String>,

    /// Leave a type or a sentiment unspecified below this score.
    #[arg(long, value_name = "0..1", default_value_t = 0.0)]
    min_confidence: f32,

    /// Colour the page: on a terminal, unless NO_COLOR is set; or always, or never.
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    color: Colour,

    /// Ask a running server instead: http://host:port, or https:// for TLS.
    #[cfg(feature = "grpc")]
    #[arg(long, value_name = "URL", conflicts_with_all = ["model", "device", "workers"], env = "COPYDESK_SERVER")]
    server: Option<String>,

    /// With --server: seconds that an article may take, all tries together.
    #[cfg(feature = "grpc")]
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        env = "COPYDESK_TIMEOUT"
    )]
    timeout: u64,

    /// With --server https://…: trust this certificate authority (PEM) instead of the public ones.
    #[cfg(feature = "grpc")]
    #[arg(long, value_name = "FILE", env = "COPYDESK_TLS_CA")]
    tls_ca: Option<PathBuf>,

    /// With --server https://…: show this certificate (PEM) to a server that asks for one.
    #[cfg(feature = "grpc")]
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "COPYDESK_CLIENT_TLS_CERT"
    )]
    tls_cert: Option<PathBuf>,

    /// The private key (PEM) of --tls-cert.
    #[cfg(feature = "grpc")]
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "COPYDESK_CLIENT_TLS_KEY"
    )]
    tls_key: Option<PathBuf>,

    /// With --server: a file with the token that the server asks for.
    #[cfg(feature = "grpc")]
    #[arg(long, value_name = "FILE", env = "COPYDESK_TOKEN_FILE")]
    token_file: Option<PathBuf>,

    #[command(flatten)]
    model: ModelArguments,
}

impl Arguments {
    /// Who answers: a server, or a model in this process.
    fn answerer(&self) -> Result<Answerer, Failure> {
        #[cfg(feature = "grpc")]
        if let Some(url) = &self.server {
            let timeout = std::time::Duration::from_secs(self.timeout);
            let config = client::Config {
                timeout,
                authority: self.tls_ca.as_deref().map(authority).transpose()?,
                certificate: self.certificate()?,
                token: self.token_file.as_deref().map(token).transpose()?,
                ..client::Config::default()
            };
            return Ok(Answerer::Server(Box::new(client::Client::new(
                url, config,
            )?)));
        }
        Ok(Answerer::Here(self.model.classifier()?))
    }

    #[cfg(feature = "grpc")]
    fn certificate(&self) -> Result<Option<client::Certificate>, Failure> {
        use client::BadCertificate::{Certificate, Key};
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let pem = (read("--tls-cert", certificate)?, read("--tls-key", key)?);
        let read = client::Certificate::from_pem(&pem.0, &pem.1);
        Ok(Some(read.map_err(|error| match error {
            Certificate(error) => format!("--tls-cert {}: {error}", certificate.display()),
            Key(error) => format!("--tls-key {}: {error}", key.display()),
        })?))
    }
}

/// Whether the arguments themselves are wrong, rather than what they name.
#[cfg(feature = "grpc")]
fn is_usage(error: &Failure) -> bool {
    use client::ConnectError::{Exposed, Plain, Url};
    matches!(
        error.downcast_ref(),
        Some(Url { .. } | Plain { .. } | Exposed { .. })
    )
}

#[cfg(not(feature = "grpc"))]
fn is_usage(_: &Failure) -> bool {
    false
}

#[cfg(feature = "grpc")]
fn authority(file: &std::path::Path) -> Result<client::Authority, Failure> {
    let place = file.display();
    let pem = read("--tls-ca", file)?;
    client::Authority::from_pem(&pem).map_err(|error| format!("--tls-ca {place}: {error}").into())
}

#[cfg(feature = "grpc")]
fn token(file: &std::path::Path) -> Result<client::Token, Failure> {
    let place = file.display();
    let bytes = read("--token-file", file)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| format!("--token-file {place}: is not UTF-8 text"))?;
    client::Token::from_file(text).map_err(|error| format!("--token-file {place}: {error}").into())
}

#[cfg(feature = "grpc")]
fn read(flag: &str, file: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let place = file.display();
    std::fs::read(file).map_err(|error| format!("{flag} {place}: {error}").into())
}

/// Who answers.
enum Answerer {
    /// A model in this process.
    Here(Classifier),
    /// A server.
    #[cfg(feature = "grpc")]
    Server(Box<client::Client>),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A page to read.
    Text,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

/// An article's answer, whole.
struct Answered {
    id: String,
    headline: Option<String>,
    result: Result<(Vec<Sentence>, Summary), (&'static str, String)>,
}

/// Runs the command; 1 if any article failed.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    if !(0.0..=1.0).contains(&arguments.min_confidence) {
        warn(&format!(
            "--min-confidence {} is not between 0 and 1",
            arguments.min_confidence
        ));
        return Ok(ExitCode::from(2));
    }
    // A server's client needs the runtime from its first moment on.
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let answerer = match arguments.answerer() {
        Err(error) if is_usage(&error) => {
            warn(&error.to_string());
            return Ok(ExitCode::from(2));
        }
        answerer => answerer?,
    };
    let parties = parties(&arguments.party);
    let options = Options {
        min_confidence: arguments.min_confidence,
        deadline: None,
    };
    let writer = Writer::new(arguments.format, arguments.color);
    let items = input::articles(arguments.files, arguments.input_format);
    runtime.block_on(answer_all(&answerer, items, &parties, options, writer))
}

/// Several articles are under way at a time, so that no worker waits for input.
async fn answer_all(
    answerer: &Answerer,
    items: impl Iterator<Item = Item>,
    parties: &[Party],
    options: Options,
    mut writer: Writer,
) -> Result<ExitCode, Failure> {
    let ahead = match answerer {
        Answerer::Here(classifier) => classifier.engine().config().workers + 2,
        #[cfg(feature = "grpc")]
        Answerer::Server(_) => 8,
    };
    let answers = futures_util::stream::iter(items)
        .map(|(id, article)| answer(answerer, id, article, parties, options))
        .buffered(ahead);
    let mut answers = std::pin::pin!(answers);
    let mut failed = 0;
    while let Some(answered) = answers.next().await {
        failed += usize::from(answered.result.is_err());
        match writer.write(&answered) {
            // Whoever read along (a pager, head) has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            other => other?,
        }
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn answer(
    answerer: &Answerer,
    id: String,
    article: Result<Article, String>,
    parties: &[Party],
    options: Options,
) -> Answered {
    let mut article = match article {
        Ok(article) => article,
        Err(problem) => {
            return Answered {
                id,
                headline: None,
                result: Err(("INVALID_ARGUMENT", problem)),
            };
        }
    };
    if article.parties == Parties::Detect && !parties.is_empty() {
        article.parties = Parties::Named(parties.to_vec());
    }
    let headline = article.headline.clone();
    let result = match answerer {
        Answerer::Here(classifier) => collect(classifier, article, options)
            .await
            .map_err(|e| (code(&e), e.to_string())),
        #[cfg(feature = "grpc")]
        Answerer::Server(client) => {
            let answer = client.classify(&article, options.min_confidence).await;
            answer.map_err(|s| (crate::grpc::status::name(s.code()), s.message().to_owned()))
        }
    };
    Answered {
        id,
        headline,
        result,
    }
}

/// The gRPC code with which a server would have answered.
fn code(error: &ClassifyError) -> &'static str {
    match error {
        ClassifyError::Invalid(_) => "INVALID_ARGUMENT",
        ClassifyError::Engine(EngineError::Failed(_)) => "INTERNAL",
        ClassifyError::Engine(EngineError::Expired) => "DEADLINE_EXCEEDED",
        ClassifyError::Engine(_) => "UNAVAILABLE",
    }
}

async fn collect(
    classifier: &Classifier,
    article: Article,
    options: Options,
) -> Result<(Vec<Sentence>, Summary), ClassifyError> {
    let mut answer = classifier.classify(article, options)?;
    let mut sentences = Vec::new();
    while let Some(event) = answer.next().await {
        match event? {
            Event::Sentence(sentence) => sentences.push(*sentence),
            Event::Summary(summary) => return Ok((sentences, *summary)),
        }
    }
    Err(ClassifyError::Engine(EngineError::Stopping))
}

/// `NAME` or `NAME=ALIAS,ALIAS`, with ids `p1`, `p2`, ….
fn parties(flags: &[String]) -> Vec<Party> {
    let party = |(i, flag): (usize, &String)| {
        let (name, aliases) = flag.split_once('=').unwrap_or((flag, ""));
        let aliases = aliases.split(',').map(str::trim).filter(|a| !a.is_empty());
        Party {
            id: format!("p{}", i + 1),
            name: name.trim().to_owned(),
            aliases: aliases.map(str::to_owned).collect(),
            spans: Vec::new(),
        }
    };
    flags.iter().enumerate().map(party).collect()
}

/// Writes answers to standard output.
struct Writer {
    format: Format,
    page: render::Page,
    out: BufWriter<io::Stdout>,
}

impl Writer {
    fn new(format: Format, colour: Colour) -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = match colour {
            Colour::Auto => terminal && !environment("NO_COLOR"),
            other => other == Colour::Always,
        };
        let page = render::Page {
            width: width(),
            colour,
        };
        Self {
            format,
            page,
            out: BufWriter::new(io::stdout()),
        }
    }

    fn write(&mut self, answered: &Answered) -> io::Result<()> {
        let id = &answered.id;
        match (&answered.result, self.format) {
            (Ok((sentences, summary)), Format::Jsonl) => {
                serde_json::to_writer(&mut self.out, &json::Line::new(id, sentences, summary))?;
                self.out.write_all(b"\n")?;
            }
            (Err((code, message)), Format::Jsonl) => {
                warn(&format!("{id}: {message}"));
                serde_json::to_writer(&mut self.out, &json::Failure::new(id, code, message))?;
                self.out.write_all(b"\n")?;
            }
            (Ok((sentences, summary)), Format::Text) => {
                let headline = answered.headline.as_deref();
                render::article(&mut self.out, &self.page, id, headline, sentences, summary)?;
            }
            (Err((_, message)), Format::Text) => warn(&format!("{id}: {message}")),
        }
        // Whoever waits for this answer should not wait for the next one.
        self.out.flush()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
fn environment(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty())
}

/// Columns of the terminal; a page's usual width where there is none.
fn width() -> usize {
    terminal_size::terminal_size().map_or(100, |(columns, _)| usize::from(columns.0))
}
