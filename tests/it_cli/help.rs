//! The help of each subcommand as a whole: a change of options and texts shows in the diff of `snapshots/`. After a wanted
//! change: `INSTA_UPDATE=always cargo test --test it_cli help::`.

use std::process::Command;

fn help(command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sailhand"))
        .args(command)
        .arg("--help")
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Names under the heading "Commands:" of a help text.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  "));
    // A long description goes on in lines that are indented further.
    let names = lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    // `help` is clap's own and has no help.
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn help_of_each_subcommand_is_as_recorded() {
    let whole = help(&[]);
    let commands = subcommands(&whole);
    assert!(commands.len() > 10, "{commands:?}");
    insta::assert_snapshot!("sailhand", whole);
    for name in commands {
        let text = help(&[&name]);
        insta::assert_snapshot!(name.clone(), text);
        for below in subcommands(&text) {
            insta::assert_snapshot!(format!("{name}-{below}"), help(&[&name, &below]));
        }
    }
}

/// All help texts on narrow, usual and wide terminals.
#[test]
fn help_fits_the_terminal() {
    let at = |columns: usize, command: &[&str]| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sailhand"));
        let output = process.args(command).arg("--help").env("COLUMNS", columns.to_string()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for columns in [40, 80, 140] {
        let mut all = at(columns, &[]);
        for name in subcommands(&help(&[])) {
            let text = at(columns, &[&name]);
            // Examples, usage lines and tables of exit codes are written as they are; words can be longer than a narrow column.
            let options = text.lines().take_while(|line| *line != "Global options:");
            let options = options.filter(|line| !line.starts_with("  sailhand ") && !line.starts_with("Usage: "));
            let is_too_long = |line: &&str| {
                let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or_default();
                line.chars().count() > columns && longest + 16 < columns
            };
            let long: Vec<&str> = options.filter(is_too_long).collect();
            assert_eq!(long, Vec::<&str>::new(), "{name} at {columns}");
            all.extend(["\n==== ", &name, " ====\n", &text]);
        }
        insta::assert_snapshot!(format!("all-{columns}"), all);
    }
}
