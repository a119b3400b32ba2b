//! `copydesk classify`: articles in, answers out, in the order of the input. Holds a few articles at
//! a time, however many there are.

mod answerer;
mod bar;
mod resume;
mod writer;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clap::{Args, ValueEnum};
use futures_util::{Stream, StreamExt};

use self::answerer::{Answer, Answerer};
use self::bar::Progress;
use self::resume::{Done, Key};
use self::writer::{Format, Look, TableRows, Writer};
#[cfg(feature = "grpc")]
use super::credentials::{Credentials, is_usage};
use super::input::archive::Archive;
use super::input::{self, Item};
use super::output::{Opening, Packing, Sink};
use super::pager::Pager;
use super::setup::{ModelArguments, runtime};
use super::{Failure, warn};
use crate::answer::json::Run;
use crate::article::{Article, Parties, Party};
use crate::classifier::Options;
#[cfg(feature = "grpc")]
use crate::grpc::client;
use crate::render;
use crate::render::rows::Rows;

/// Arguments of `classify`.
#[derive(Args)]
#[command(after_long_help = columns())]
pub(super) struct Arguments {
    /// Files, folders, or patterns in quotes; `-` is standard input. Plain text or JSON Lines, as
    /// they are or packed with gzip or Zstandard. Folders are searched, sorted, for .txt, .jsonl,
    /// .jsonl.gz and .jsonl.zst (and .parquet, in a build with that feature).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How answers are written.
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    format: Format,

    /// Write to a file instead of standard output; packed if its name ends in .gz or .zst.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,

    /// Write over a file that exists.
    #[arg(long, requires = "out", help_heading = "Output")]
    force: bool,

    /// Go on with the .jsonl that --out names: answer what has no answer there, failures again.
    #[arg(
        long,
        requires = "out",
        conflicts_with = "force",
        help_heading = "Output"
    )]
    resume: bool,

    /// What a row of a table is; its columns are listed below.
    #[arg(long, value_enum, default_value_t = TableRows::Sentences, help_heading = "Output")]
    csv_rows: TableRows,

    /// Colour the page: on a terminal, unless NO_COLOR is set; or always, or never.
    #[arg(long, value_enum, default_value_t = Colour::Auto, help_heading = "Output")]
    color: Colour,

    /// Show a page that is longer than the screen in $PAGER (less -R if unset), or never.
    #[arg(long, value_enum, default_value_t = Paging::Auto, help_heading = "Output")]
    pager: Paging,

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

    /// Stop at the first article that fails.
    #[arg(long, conflicts_with = "max_errors")]
    fail_fast: bool,

    /// Stop when more than so many articles have failed.
    #[arg(long, value_name = "N")]
    max_errors: Option<usize>,

    /// Ask a running server instead: http://host:port, or https:// for TLS. Repeated, or with
    /// commas between: each article goes to the server with the fewest under way.
    #[cfg(feature = "grpc")]
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        env = "COPYDESK_SERVER",
        help_heading = "Server"
    )]
    server: Vec<String>,

    /// With --server: seconds that an article may take, all tries together.
    #[cfg(feature = "grpc")]
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        env = "COPYDESK_TIMEOUT",
        help_heading = "Server"
    )]
    timeout: u64,

    #[cfg(feature = "grpc")]
    #[command(flatten)]
    credentials: Credentials,

    #[command(flatten)]
    model: ModelArguments,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Paging {
    Auto,
    Never,
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
    result: Answer,
    /// What was asked, for a file that a later run may go on with.
    run: Option<Run>,
}

/// An article to be answered, or why there is none.
struct Work {
    id: String,
    article: Result<Article, String>,
    key: Option<Key>,
}

#[cfg(not(feature = "grpc"))]
fn is_usage(_: &Failure) -> bool {
    false
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

/// Runs the command; 1 if any article failed.
pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    if let Err(problem) = arguments.check() {
        warn(&problem);
        return Ok(ExitCode::from(2));
    }
    // A server's client needs the runtime from its first moment on.
    let runtime = runtime()?;
    let _inside = runtime.enter();
    // Fetching a model drives a runtime of its own, so it is not done within this one.
    let answerer = match arguments.answerer() {
        Err(error) if is_usage(&error) => {
            warn(&error.to_string());
            return Ok(ExitCode::from(2));
        }
        answerer => answerer?,
    };
    runtime.block_on(answer_all(arguments, answerer))
}

impl Arguments {
    /// Servers have models of their own, so one of the two holds: what `given` finds on the command
    /// line goes before what the environment says, and there a server before a model.
    #[cfg(feature = "grpc")]
    pub(super) fn settled(mut self, given: impl Fn(&str) -> bool) -> Result<Self, String> {
        let local = ["model", "device", "workers"]
            .into_iter()
            .find(|f| given(f));
        match local {
            Some(flag) if given("server") => Err(format!(
                "--server cannot be used with --{flag}: a server has a model of its own"
            )),
            Some(_) => {
                self.server.clear();
                Ok(self)
            }
            None => Ok(self),
        }
    }

    /// What clap cannot see.
    fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.min_confidence) {
            return Err(format!(
                "--min-confidence {} is not between 0 and 1",
                self.min_confidence
            ));
        }
        #[cfg(feature = "parquet")]
        if self.format == Format::Parquet
            && self
                .out
                .as_deref()
                .is_none_or(|out| Packing::of(out) != Packing::None)
        {
            return Err("--format parquet needs --out with a name such as answers.parquet; it is packed as it is".to_owned());
        }
        let Some(out) = &self.out else { return Ok(()) };
        if self.resume && (self.format != Format::Jsonl || Packing::of(out) != Packing::None) {
            return Err(format!(
                "--resume goes on with --format jsonl in a file that is not packed, not with {}",
                out.display()
            ));
        }
        let place = out.canonicalize().ok();
        let read = |file: &&PathBuf| place.is_some() && file.canonicalize().ok() == place;
        match self.files.iter().find(read) {
            Some(file) => Err(format!("{} is read and written at once", file.display())),
            None => Ok(()),
        }
    }

    /// Who answers: servers, or a model in this process.
    fn answerer(&self) -> Result<Answerer, Failure> {
        #[cfg(feature = "grpc")]
        if !self.server.is_empty() {
            let timeout = std::time::Duration::from_secs(self.timeout);
            let config = self.credentials.config(timeout)?;
            let client = client::Client::new(&self.server, config)?;
            return Ok(Answerer::Servers(client, self.server.len()));
        }
        Ok(Answerer::Here(self.model.classifier()?))
    }

    /// Whether several servers answer, which may then differ.
    fn several(&self) -> bool {
        #[cfg(feature = "grpc")]
        return self.server.len() > 1;
        #[cfg(not(feature = "grpc"))]
        false
    }

    /// The flags that change answers, in one order.
    fn flags(&self) -> String {
        let mut flags: Vec<String> = self
            .party
            .iter()
            .map(|party| format!("--party {party:?}"))
            .collect();
        if self.min_confidence > 0.0 {
            flags.push(format!("--min-confidence {}", self.min_confidence));
        }
        flags.join(" ")
    }

    fn errors_allowed(&self) -> usize {
        match self.fail_fast {
            true => 0,
            false => self.max_errors.unwrap_or(usize::MAX),
        }
    }

    fn writer(&self) -> Result<Writer, Failure> {
        let terminal = self.out.is_none() && io::stdout().is_terminal();
        let opening = match (self.force, self.resume) {
            (true, _) => Opening::Over,
            (_, true) => Opening::Append,
            _ => Opening::New,
        };
        let sink = match &self.out {
            None if terminal && self.format == Format::Text => self.screen(),
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

    /// A page on a terminal, in a pager if it is longer.
    fn screen(&self) -> Sink {
        let command = setting("PAGER").unwrap_or_else(|| "less -R".to_owned());
        match terminal_size::terminal_size() {
            Some((_, rows)) if self.pager == Paging::Auto && command != "cat" => {
                Sink::Paged(Pager::new(&command, usize::from(rows.0)))
            }
            _ => Sink::standard(),
        }
    }

    /// A bar would run through answers on the same terminal.
    fn progress(&self, archive: &Archive, read: &Arc<AtomicU64>) -> Progress {
        let apart = self.out.is_some() || !io::stdout().is_terminal();
        let shown = apart && io::stderr().is_terminal();
        let total = archive.bytes().filter(|_| shown);
        Progress::new(shown, total, Arc::clone(read))
    }
}

async fn answer_all(arguments: Arguments, answerer: Answerer) -> Result<ExitCode, Failure> {
    let flags = arguments.flags();
    let mut done = Done::default();
    if let (true, Some(out)) = (arguments.resume, &arguments.out) {
        let settings = answerer::settings(&answerer, flags.clone()).await?;
        done = Done::read(out, &settings)?;
    } else if arguments.several() {
        answerer.model().await?;
    }
    let mut writer = arguments.writer()?;
    let archive = Archive::new(arguments.files.clone(), arguments.out.as_deref());
    let read = Arc::new(AtomicU64::new(0));
    let mut progress = arguments.progress(&archive, &read);
    let before = done.count();
    let parties = parties(&arguments.party);
    let keyed = arguments.out.is_some() && arguments.format == Format::Jsonl;
    let options = Options {
        min_confidence: arguments.min_confidence,
        deadline: None,
    };
    let items = input::articles(archive, arguments.input_format, read);
    let answers = in_background(items, answerer.ahead())?
        .map(|item| work(item, &parties, keyed))
        .filter(|work| {
            let known = work.key.is_some_and(|key| done.has(key));
            futures_util::future::ready(!known)
        })
        .map(|work| answer(&answerer, work, options, &flags))
        .buffered(answerer.ahead());
    let mut answers = std::pin::pin!(answers);
    progress.skipped = before;
    let mut stopped = false;
    while let Some(answered) = answers.next().await {
        match &answered.result {
            Ok(_) => progress.answered(),
            Err((_, message)) => progress.failed(&answered.id, message),
        }
        if gone(writer.write(&answered))? {
            return Ok(ExitCode::SUCCESS);
        }
        stopped = progress.failed > arguments.errors_allowed();
        if stopped {
            break;
        }
    }
    let gone = gone(writer.finish())?;
    progress.finish();
    if stopped {
        warn(&format!("stopped: {}", progress.counts()));
    } else if arguments.resume {
        warn(&format!("done: {}", progress.counts()));
    }
    Ok(if progress.failed == 0 || gone {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether whoever read along (a pager, head) has seen enough.
fn gone(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        other => other.map(|()| false),
    }
}

/// Reads on a thread of its own, so that answers need not wait for a slow disk or pipe; a few
/// articles ahead and no more.
fn in_background(
    items: impl Iterator<Item = Item> + Send + 'static,
    ahead: usize,
) -> io::Result<impl Stream<Item = Item>> {
    let (send, mut receive) = tokio::sync::mpsc::channel(ahead);
    std::thread::Builder::new()
        .name("copydesk-reader".to_owned())
        .spawn(move || {
            for item in items {
                if send.blocking_send(item).is_err() {
                    break;
                }
            }
        })?;
    Ok(futures_util::stream::poll_fn(move |context| {
        receive.poll_recv(context)
    }))
}

/// An article with the parties that are asked about.
fn work((id, article): Item, parties: &[Party], keyed: bool) -> Work {
    let article = article.map(|mut article| {
        if article.parties == Parties::Detect && !parties.is_empty() {
            article.parties = Parties::Named(parties.to_vec());
        }
        article
    });
    let key = article.as_ref().ok().filter(|_| keyed).map(Key::of);
    Work { id, article, key }
}

async fn answer(answerer: &Answerer, work: Work, options: Options, flags: &str) -> Answered {
    let run = work.key.map(|key| Run {
        input: key.text(),
        settings: flags.to_owned(),
    });
    let (headline, result) = match work.article {
        Err(problem) => (None, Err(("INVALID_ARGUMENT", problem))),
        Ok(article) => (
            article.headline.clone(),
            answerer.answer(article, options).await,
        ),
    };
    Answered {
        id: work.id,
        headline,
        result,
        run,
    }
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
        Colour::Auto => terminal && setting("NO_COLOR").is_none(),
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
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Columns of the terminal; a page's usual width where there is none.
fn width() -> usize {
    terminal_size::terminal_size().map_or(100, |(columns, _)| usize::from(columns.0))
}
