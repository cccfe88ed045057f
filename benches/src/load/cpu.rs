//! What processes cost, from `/proc`.

use std::collections::BTreeMap;

/// What a process and all its descendants have used so far, and hold now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    /// User and system time, in seconds.
    pub(super) cpu: f64,
    /// Resident memory, in bytes.
    pub(super) memory: u64,
}

/// The processes below `root`, and `root`.
pub(super) fn used(root: u32) -> Used {
    let stats = all();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(
            stats
                .iter()
                .filter(|(_, stat)| stat.parent == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    let mut sum = Used::default();
    for stat in family.iter().filter_map(|pid| stats.get(pid)) {
        sum.cpu += stat.cpu;
        sum.memory += stat.memory;
    }
    sum
}

/// Seconds that all cores together have been busy since the machine started.
pub(super) fn busy() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next() else {
        return 0.0;
    };
    // user nice system idle iowait irq softirq steal …: what is idle or waits for a disk is not busy.
    let fields: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let at = |n: usize| fields.get(n).copied().unwrap_or_default();
    (at(0) + at(1) + at(2) + at(5) + at(6)) / ticks()
}

struct Stat {
    parent: u32,
    cpu: f64,
    memory: u64,
}

fn all() -> BTreeMap<u32, Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

/// `/proc/PID/stat` (proc(5)): fields are counted behind the name in parentheses, which may hold anything.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let number = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok());
    let seconds = |n: usize| {
        fields
            .get(n)
            .and_then(|field| field.parse::<f64>().ok())
            .map(|field| field / ticks())
    };
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        cpu: seconds(11)? + seconds(12)?,
        memory: number(21)? * u64::try_from(rustix::param::page_size()).ok()?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "100 on every Linux")]
fn ticks() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_memory() {
        assert!(used(std::process::id()).memory > 0);
        assert!(busy() > 0.0);
    }
}
