//! What people and machines use around the program: completions, manual pages, log formats, and
//! the files of `packaging/`.

#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/agent.rs"]
mod agent;
#[expect(dead_code, reason = "the tests of serve need more of it")]
#[path = "support/http.rs"]
mod http;
#[path = "operating/log.rs"]
mod log;
#[path = "operating/packaging.rs"]
mod packaging;
#[path = "support/program.rs"]
mod program;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use dbvitals_testkit::left_out;
use program::{Run, dbvitals};

/// Runs a program over a text; `None` where it is not installed.
fn pipe(program: &str, arguments: &[&str], text: &str) -> Option<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("MANPAGER", "cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("a child can be waited for");
    let written = writer.join().expect("a writer does not panic");
    written.expect("the program reads all of it");
    Some(output)
}

fn script(shell: &str) -> String {
    let run = Run::of(&mut dbvitals(&["completions", shell]));
    assert_eq!(run.code, 0, "{run:?}");
    run.stdout
}

#[test]
fn bash_completes_commands_and_options() {
    let asked = "\ncomplete -p dbvitals\n\
                 COMP_WORDS=(dbvitals co); COMP_CWORD=1; _dbvitals dbvitals co dbvitals\n\
                 echo \"${COMPREPLY[*]}\"\n\
                 COMP_WORDS=(dbvitals serve --ga); COMP_CWORD=2; _dbvitals dbvitals --ga serve\n\
                 echo \"${COMPREPLY[*]}\"\n";
    let script = script("bash") + asked;
    let Some(output) = pipe("bash", &["--norc", "-eu"], &script) else {
        return left_out("completions", "needs bash");
    };
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<_> = told.lines().collect();
    assert!(
        lines[0].starts_with("complete ") && lines[0].ends_with(" dbvitals"),
        "{told}"
    );
    assert_eq!(lines[1..], ["config completions", "--gate"]);
}

#[test]
fn other_shells_take_their_completions() {
    for shell in ["zsh", "fish"] {
        let script = script(shell);
        assert!(script.contains("completions"), "{script}");
        match pipe(shell, &["-n"], &script) {
            Some(output) => assert!(output.status.success(), "{output:?}"),
            None => left_out("completions", &format!("needs {shell}")),
        }
    }
}

#[test]
fn manual_pages_are_sound() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man");
    let path = directory.to_str().expect("paths of tests are UTF-8");
    let run = Run::of(&mut dbvitals(&["man", "--dir", path]));
    assert_eq!(run.code, 0, "{run:?}");
    let help = Run::of(&mut dbvitals(&["--help"])).stdout;
    let commands = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Commands are two columns in; deeper is what a description goes on with.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|command| !["", "help"].contains(command));
    let mut names: Vec<_> = commands.map(|it| format!("dbvitals-{it}")).collect();
    assert!(names.len() >= 7, "{help}");
    names.extend(["dbvitals".to_owned(), "dbvitals-config-check".to_owned()]);
    for name in names {
        let page = fs::read_to_string(directory.join(format!("{name}.1")));
        let page = page.unwrap_or_else(|error| panic!("{name}: {error}"));
        check_page(&name, &page);
    }
}

/// A page renders without a warning, and says what it is about.
fn check_page(name: &str, page: &str) {
    // On Debian `man --warnings -l` runs the same, and needs man-db besides.
    let Some(output) = pipe("groff", &["-ww", "-man", "-Tutf8"], page) else {
        return left_out("the manual page", "needs groff");
    };
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && warnings.is_empty(),
        "{name}: {warnings}"
    );
    let text = plain(&String::from_utf8_lossy(&output.stdout));
    assert!(text.contains(&format!(" {name} - ")), "{text}");
    let typed = match name {
        "dbvitals-config-check" => "dbvitals config check",
        name => &name.replacen('-', " ", 1),
    };
    let synopsis = format!(" SYNOPSIS {typed} ");
    assert!(
        text.contains(&synopsis) && text.contains(" OPTIONS "),
        "{text}"
    );
}

/// A page without bold and underline, which a terminal makes by escape sequences or by going back
/// over letters, and without its layout.
fn plain(page: &str) -> String {
    let mut text = String::new();
    let mut letters = page.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{8}' => drop(text.pop()),
            '\u{1b}' => drop(letters.by_ref().find(|it| *it == 'm')),
            letter => text.push(letter),
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn one_page_is_found_by_its_command() {
    let page = Run::of(&mut dbvitals(&["man", "config", "check"]));
    assert!(
        page.stdout.contains(".TH DBVITALS-CONFIG-CHECK 1"),
        "{page:?}"
    );
    let wrong = Run::of(&mut dbvitals(&["man", "chekc"]));
    assert_eq!(wrong.code, 3);
    assert!(
        wrong.stderr.contains("did you mean \"check\"?"),
        "{wrong:?}"
    );
}
