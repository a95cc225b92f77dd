//! What the operating system gives, and an end that comes whatever happens (rule G20).

use crate::program::{Place, command, countersign, error};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn installed(limits: &str) -> Place {
    let place = Place::new();
    assert!(place.init().status.success());
    let config = place.file("countersign.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[limits]\n{limits}")).unwrap();
    place
}

/// Runs `serve` under a limit of the shell's.
fn serve_under(place: &Place, limit: &str) -> Output {
    let serve = format!("{limit}; exec \"$0\" serve --config \"$1\"");
    let program = env!("CARGO_BIN_EXE_countersign");
    let config = place.file("countersign.toml");
    Command::new("sh").args(["-c", &serve, program]).arg(config).output().unwrap()
}

#[test]
fn rule_g20_too_few_open_files_are_an_error_at_the_start_that_says_what_to_do() {
    let place = installed("");
    let refused = error(&serve_under(&place, "ulimit -n 80"));
    assert!(refused.contains("the limit of open files is too low"), "{refused}");
    assert!(refused.contains("80 open files") && refused.contains("LimitNOFILE="), "{refused}");
}

#[test]
fn every_error_says_what_to_do() {
    let place = Place::new();
    let directory = place.directory.parent().unwrap();
    let nowhere = directory.join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for (arguments, what, action) in [
        (
            &["cert", "request", "shop", "--out-dir", nowhere][..],
            "shop.key cannot be written",
            "each directory in it",
        ),
        (&["init", "--dir", "/proc/x"], "takes no new directories", "a place on a disk"),
        (&["man", "--out-dir", "/proc/x"], "takes no new directories", "a place on a disk"),
        (&["init", "--dir", "/dev/null/x"], "/dev/null/x cannot be made", "each directory in it"),
        (&["quickstart", "--clean", "--dir", nowhere], "nothing of countersign", "--dir"),
        (&["client", "list", "--dir", nowhere], "countersign.toml cannot be read", "--dir"),
        (
            &["client", "show", "shop", "--admin", "ftp://x", "--credential-file", nowhere],
            "no address of an admin API",
            "--admin https://",
        ),
        (&["serve", "--dir", nowhere], "countersign.toml cannot be read", "--dir"),
        (&["operator", "reset-token", "--dir", nowhere], "no installation", "--dir"),
        (
            &["cert", "sign", "/dev/null", "--client", "shop", "--out", "/nowhere/x.crt"],
            "/nowhere is not there",
            "--out",
        ),
        (&["cert", "sign", nowhere, "--client", "shop"], "nowhere cannot be read", "each directory in it"),
        (&["cert", "revoke", "--reason", "superseded"], "<CERTIFICATE>", "--help"),
        (&["client", "show"], "<CLIENT>", "--help"),
        (&["client", "shwo", "shop"], "shwo", "--help"),
        (&["serve", "--nothing"], "--nothing", "--help"),
        (&["client"], "a command is missing", "--help"),
        (&["explain", "nothing_like_it"], "no reason code", "explain"),
    ] {
        let text = error(&countersign(arguments));
        let done = text
            .lines()
            .find(|line| line.starts_with("  do:  "))
            .unwrap_or_else(|| panic!("{arguments:?} {text}"));
        assert!(text.contains(what) && done.contains(action), "{arguments:?} {text}");
    }
    let place = installed("");
    for limit in ["ulimit -n 12", "ulimit -n 20"] {
        let text = error(&serve_under(&place, limit));
        assert!(text.contains("  do:  raise the limit of open files"), "{limit}: {text}");
    }
}

/// Standard error is what nobody reads and takes no more: whatever the main thread does next, it waits for that. It is
/// one of the ways in which a process does not hear a signal, and the one that needs no luck.
#[test]
fn a_process_whose_main_thread_hangs_ends_when_it_is_told_to() {
    let place = installed("shutdown_timeout = \"100ms\"");
    let (theirs, mut ours) = UnixStream::pair().unwrap();
    let mut fill = theirs.try_clone().unwrap();
    let config = place.file("countersign.toml");
    let mut serve = command(&["serve", "--config", config.to_str().unwrap()]);
    let mut child = serve.stderr(OwnedFd::from(theirs)).spawn().unwrap();
    drop(serve);
    let mut said = Vec::new();
    while !said.ends_with(b"\n") || !String::from_utf8_lossy(&said).contains("ready: ") {
        let mut piece = [0; 1024];
        let n = ours.read(&mut piece).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&said));
        said.extend(&piece[..n]);
    }
    fill.set_nonblocking(true).unwrap();
    for piece in [&[b'\n'; 1024][..], b"\n"] {
        let full = loop {
            if let Err(error) = fill.write_all(piece) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }
    fill.set_nonblocking(false).unwrap();

    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let (tell, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait().unwrap().code()));
    // A tenth of a second and the margin; the rest is for a busy machine.
    let code = ended.recv_timeout(Duration::from_secs(60));
    if code.is_err() {
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
    }
    assert_eq!(code, Ok(Some(1)), "it was told to");
}

/// The configuration is a pipe, so that the start waits where it has only just begun.
#[test]
fn a_hangup_during_the_start_is_a_reload_and_not_the_end() {
    let place = installed("");
    let (config, good) = (place.file("countersign.toml"), place.file("good.toml"));
    std::fs::rename(&config, &good).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    let mut serve = command(&["serve", "--json", "--config", config.to_str().unwrap()]);
    let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Opens when the program opens it to read.
    let mut pipe = std::fs::File::options().write(true).open(&config).unwrap();
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    let text = std::fs::read(&good).unwrap();
    std::fs::rename(&good, &config).unwrap();
    let _ = pipe.write_all(&text); // a program that ended does not take it
    drop(pipe);
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    assert!(ready.contains("issuer"), "{:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Under a soft limit that is too low it starts, because the hard one is not.
#[test]
fn rule_g20_the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let place = installed("");
    let config = place.file("countersign.toml");
    let serve = "ulimit -Sn 80; exec \"$0\" serve --json --config \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", serve, env!("CARGO_BIN_EXE_countersign")]).arg(config);
    let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    assert!(ready.contains("issuer"), "{}", String::from_utf8_lossy(&output.stderr));
}
