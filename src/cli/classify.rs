//! `copydesk classify`: articles in, answers out, in the order of the input.

mod writer;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use futures_util::StreamExt;

use self::writer::{Format, Look, TableRows, Writer};
use super::input::{self, Item};
use super::output::{Opening, Sink};
use super::setup::{ModelArguments, runtime};
use super::{Failure, warn};
use crate::answer::{Event, Sentence, Summary};
use crate::article::{Article, Parties, Party};
use crate::classifier::{Classifier, ClassifyError, Options};
use crate::engine::EngineError;
#[cfg(feature = "grpc")]
use crate::grpc::client;
use crate::render;
use crate::render::rows::Rows;

/// Arguments of `classify`.
#[derive(Args)]
#[command(after_long_help = columns())]
pub(super) struct Arguments {
    /// Files of plain text or JSON Lines; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How answers are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write to a file instead of standard output; packed if its name ends in .gz or .zst.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write over a file that exists.
    #[arg(long, requires = "out")]
    force: bool,

    /// What a row of a table is; its columns are listed below.
    #[arg(long, value_enum, default_value_t = TableRows::Sentences)]
    csv_rows: TableRows,

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
                ..client::Config::default()
            };
            return Ok(Answerer::Server(client::Client::new(url, config)?));
        }
        Ok(Answerer::Here(self.model.classifier()?))
    }
}

/// The columns of the tables, for `--help`.
fn columns() -> String {
    let mut help = String::new();
    for (name, rows) in [("sentences", Rows::Sentences), ("parties", Rows::Parties)] {
        help.push_str(&format!("Columns with --csv-rows {name}:\n"));
        for column in rows.columns() {
            help.push_str(&format!("  {:<18} {}\n", column.name, column.about));
        }
        help.push('\n');
    }
    help.push_str("Articles that fail have no row; they are named on standard error.");
    help
}

impl Arguments {
    fn writer(&self) -> Result<Writer, Failure> {
        let terminal = self.out.is_none() && io::stdout().is_terminal();
        let opening = if self.force {
            Opening::Over
        } else {
            Opening::New
        };
        let sink = match &self.out {
            None => Sink::standard(),
            Some(path) => Sink::file(path, opening)?,
        };
        let look = Look {
            format: self.format,
            page: page(self.color, terminal),
            rows: self.csv_rows.into(),
        };
        Ok(Writer::new(look, sink)?)
    }
}

/// Who answers.
enum Answerer {
    /// A model in this process.
    Here(Classifier),
    /// A server.
    #[cfg(feature = "grpc")]
    Server(client::Client),
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
    let answerer = arguments.answerer()?;
    let parties = parties(&arguments.party);
    let options = Options {
        min_confidence: arguments.min_confidence,
        deadline: None,
    };
    let writer = arguments.writer()?;
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
        if let Err((_, message)) = &answered.result {
            failed += 1;
            warn(&format!("{}: {message}", answered.id));
        }
        match writer.write(&answered) {
            // Whoever read along (a pager, head) has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            other => other?,
        }
    }
    match writer.finish() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
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

/// The terminal's width, and whether the page is coloured.
fn page(colour: Colour, terminal: bool) -> render::Page {
    let colour = match colour {
        Colour::Auto => terminal && !environment("NO_COLOR"),
        other => other == Colour::Always,
    };
    render::Page {
        width: width(),
        colour,
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
