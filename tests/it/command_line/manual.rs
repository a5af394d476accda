//! Completions, man pages, a drill and what it leaves for those that watch it.

use std::process::{Command, Output, Stdio};

use super::Cli;

#[test]
fn bash_takes_the_completions_and_offers_an_option() {
    let cli = Cli::empty();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let text = cli.ok(&["completions", shell]);
        std::fs::write(cli.path(shell), text).unwrap();
        let Some(out) = present(Command::new(shell).arg(check).arg(cli.path(shell))) else {
            continue;
        };
        assert!(out.status.success(), "{shell}: {}", said(&out));
    }
    let offer = "source \"$0\"; COMP_WORDS=(keyfall erase --cl); COMP_CWORD=2; \
                 _keyfall keyfall --cl erase; echo \"${COMPREPLY[@]}\"";
    let bash = &mut Command::new("bash");
    let offered = present(bash.args(["-c", offer]).arg(cli.path("bash"))).unwrap();
    assert_eq!(said(&offered).trim(), "--class");
    // A class, and no file, although there are files; but files for what is one.
    std::fs::write(cli.path("audit.txt"), "").unwrap();
    let offered = |verb: &str, option: &str| {
        let offer = format!(
            "source \"$0\"; COMP_WORDS=(keyfall {verb} {option} au); COMP_CWORD=3; \
             _keyfall keyfall au {option}; echo \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &offer]).arg(cli.path("bash")).current_dir(cli.dir.path());
        String::from_utf8(present(&mut bash).unwrap().stdout).unwrap().trim().to_owned()
    };
    assert_eq!(offered("put", "--class"), "audio");
    assert_eq!(offered("put", "--user"), "au", "what was typed, and no file");
    assert_eq!(offered("report", "--output"), "audit.txt");
}

#[test]
fn man_pages_render_without_a_warning() {
    let cli = Cli::empty();
    cli.ok(&["man", "pages"]);
    assert!(cli.ok(&["man"]).contains(".TH"));
    let pages: Vec<_> = std::fs::read_dir(cli.path("pages")).unwrap().map(|e| e.unwrap()).collect();
    assert!(cli.path("pages/keyfall-erase.1").exists() && pages.len() > 30, "{}", pages.len());
    for page in pages {
        let groff = &mut Command::new("groff");
        groff.args(["-man", "-ww", "-z", "-Tutf8"]).arg(page.path());
        let Some(out) = present(groff) else { return };
        assert!(out.status.success() && said(&out).is_empty(), "{}", said(&out));
    }
}

#[test]
fn a_drill_records_its_success_and_leaves_nothing() {
    let cli = Cli::new();
    cli.put("ada", "audio", b"RIFF....");
    cli.ok(&["backup", "store", "backup", "--metrics-file", "backup.prom"]);
    let drill =
        ["drill", "--cell", "store.cell", "--scratch", "scratch", "--metrics-file", "drill.prom"];
    let drill = [&drill[..], &["backup"]].concat();
    let told = cli.ok(&drill);
    assert!(told.contains("restored in ") && told.contains("live blobs"), "{told}");
    assert_eq!(std::fs::read_dir(cli.path("scratch")).unwrap().count(), 0);
    for (file, job) in [("backup.prom", "backup"), ("drill.prom", "restore_drill")] {
        let text = std::fs::read_to_string(cli.path(file)).unwrap();
        let metric = format!("\nkeyfall_last_{job}_timestamp_seconds ");
        let (_, at) = text.split_once(&metric).unwrap_or_else(|| panic!("{file}: {text}"));
        let at = at.lines().next().unwrap();
        assert!(at.parse::<f64>().unwrap() > 1.7e9, "{text}");
    }
    cli.ok(&["audit", "store", "--metrics-file", "audit.prom"]);
    assert!(cli.path("audit.prom").exists());

    // After an erase the backup restores nothing; the drill fails, and its file stays as it was.
    std::fs::remove_file(cli.path("drill.prom")).unwrap();
    cli.ok(&["erase", "store", "--user", "ada", "--yes"]);
    cli.fails(6, &drill);
    assert!(!cli.path("drill.prom").exists());
    assert_eq!(std::fs::read_dir(cli.path("scratch")).unwrap().count(), 0);
}

/// Runs a program, if it is installed.
fn present(command: &mut Command) -> Option<Output> {
    match command.stdin(Stdio::null()).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        out => Some(out.unwrap()),
    }
}

fn said(out: &Output) -> String {
    let (stdout, stderr) = (&out.stdout, &out.stderr);
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}
