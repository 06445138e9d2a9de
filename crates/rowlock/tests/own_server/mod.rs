//! A separate server for one test.

#![allow(dead_code, reason = "not every binary of tests does all of it")]

use std::path::PathBuf;

/// A separate server for one test, to be killed. It is removed when this process ends, however it ends.
pub(crate) struct OwnServer {
    keeper: std::process::Child,
    folder: tempfile::TempDir,
    pub(crate) url: String,
}

impl OwnServer {
    pub(crate) fn start() -> OwnServer {
        OwnServer::keep(&[])
    }

    /// A standby that follows this server and may only be read.
    pub(crate) fn start_standby(&self) -> OwnServer {
        OwnServer::keep(&["--standby-of".into(), self.folder.path().join("server")])
    }

    fn keep(arguments: &[PathBuf]) -> OwnServer {
        use std::io::{BufRead, BufReader};
        use std::os::unix::fs::PermissionsExt;
        use std::process::Stdio;

        let folder = tempfile::tempdir().expect("a temporary folder");
        // The server does not run as root, and must reach its own folder inside this one.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("permissions");
        let mut keep = OwnServer::script("keep", &folder);
        let mut keeper =
            keep.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the script starts");
        let mut url = String::new();
        let answer = keeper.stdout.take().expect("its output is piped");
        BufReader::new(answer).read_line(&mut url).expect("the script answers");
        assert!(url.starts_with("postgres://"), "no server could be started");
        OwnServer { keeper, folder, url: url.trim().to_owned() }
    }

    fn script(verb: &str, folder: &tempfile::TempDir) -> std::process::Command {
        let mut script =
            std::process::Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres-cluster"));
        script.arg(verb).arg(folder.path().join("server"));
        script
    }

    pub(crate) fn tell(&self, verb: &str) {
        let output = OwnServer::script(verb, &self.folder).output().expect("the script starts");
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It may have ended already.
        let _ = self.keeper.wait();
    }
}
