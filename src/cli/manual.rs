//! `copydesk completions` and `copydesk man`: what a shell and a manual need, from the same
//! definitions as `--help`.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::Failure;

/// Arguments of `completions`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  copydesk completions bash > ~/.local/share/bash-completion/completions/copydesk
  copydesk completions zsh  > ~/.zfunc/_copydesk
  copydesk completions fish > ~/.config/fish/completions/copydesk.fish")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  copydesk man          > ~/.local/share/man/man1/copydesk.1
  copydesk man classify > ~/.local/share/man/man1/copydesk-classify.1")]
pub(super) struct Man {
    /// A command, and one within it; the page of copydesk itself if left out.
    command: Vec<String>,
}

/// Prints the script.
pub(super) fn completions(arguments: &Completions) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "copydesk", &mut script);
    print(&script)
}

/// Prints the page.
pub(super) fn man(arguments: &Man) -> Result<ExitCode, Failure> {
    let mut command = super::Arguments::command();
    command.build();
    for name in &arguments.command {
        command = within(&command, name)?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    print(&page)
}

fn within(command: &Command, name: &str) -> Result<Command, Failure> {
    let found = command.find_subcommand(name).cloned();
    found.ok_or_else(|| {
        let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let names = match names.as_slice() {
            [] => "it has none".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        format!("{} has no command {name:?}; {names}", command.get_name()).into()
    })
}

fn print(bytes: &[u8]) -> Result<ExitCode, Failure> {
    io::stdout().lock().write_all(bytes)?;
    Ok(ExitCode::SUCCESS)
}
