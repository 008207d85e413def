//! The flags, as the programs themselves know them.

use std::fmt::Write as _;

use clap::{ArgAction, Command};

use super::{code, row};

pub(super) fn section(command: Command) -> String {
    let name = command.get_name().to_owned();
    let mut command = command;
    command.build();
    let mut section = table(&name, &command);
    for subcommand in command.get_subcommands() {
        if subcommand.get_name() != "help" {
            let name = format!("{name} {}", subcommand.get_name());
            section.push_str(&table(&name, subcommand));
        }
    }
    section
}

fn table(name: &str, command: &Command) -> String {
    let mut table = format!("\n### {name}\n\n");
    if let Some(about) = command.get_about() {
        let _ = writeln!(table, "{about}.\n");
    }
    table.push_str("| flag | variable | default | meaning |\n| --- | --- | --- | --- |\n");
    for argument in command.get_arguments() {
        let Some(long) = argument.get_long() else {
            continue;
        };
        if matches!(
            argument.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        ) {
            continue;
        }
        let variable = argument.get_env().unwrap_or_default().to_string_lossy();
        let defaults: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        let mut meaning = argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        if argument.is_required_set() {
            meaning.push_str(" (required)");
        }
        table.push_str(&row(&[
            &code(&format!("--{long}")),
            &code(&variable),
            &code(&defaults.join(",")),
            &meaning,
        ]));
    }
    table
}
