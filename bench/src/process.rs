//! CPU time and memory of processes, from /proc.

use std::fs;

/// Unit of the times in /proc, the same on every Linux.
const TICKS_PER_SEC: f64 = 100.0;

/// CPU seconds of a process and of its children, including those that have ended.
pub(crate) fn family_cpu_secs(parent: u32) -> Option<f64> {
    let own = Stat::read(parent)?;
    let mut ticks = own.own_ticks + own.ended_children_ticks;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(child) = Stat::read(pid).filter(|child| child.parent == parent) {
            ticks += child.own_ticks;
        }
    }
    Some(ticks / TICKS_PER_SEC)
}

/// CPU seconds of one process.
pub(crate) fn cpu_secs(pid: u32) -> Option<f64> {
    Some(Stat::read(pid)?.own_ticks / TICKS_PER_SEC)
}

/// Resets the peak of a process's resident memory to its present value. Where that is forbidden, the peak is that of
/// its whole life, and thus no smaller.
pub(crate) fn reset_memory_peak(pid: u32) {
    let _forbidden = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// The most memory that a process had resident, since its start or since the last reset.
pub(crate) fn memory_peak_bytes(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

struct Stat {
    parent: u32,
    own_ticks: f64,
    ended_children_ticks: f64,
}

impl Stat {
    fn read(pid: u32) -> Option<Stat> {
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in brackets and may contain anything.
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
        Some(Stat {
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: ticks(11)? + ticks(12)?,
            ended_children_ticks: ticks(13)? + ticks(14)?,
        })
    }
}

/// A program's output of one line; `None` if the program is missing.
pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_read_its_own() {
        let own = std::process::id();
        assert!(memory_peak_bytes(own).is_some_and(|bytes| bytes > 100_000.0));
        assert!(cpu_secs(own).is_some() && family_cpu_secs(own).is_some());
    }
}
