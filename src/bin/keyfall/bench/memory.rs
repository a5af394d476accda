//! The memory of this process, as Linux tells it.

use std::fs;

/// How far a peak that was just reset may lie above what is resident.
const RESET: u64 = 1 << 20;

/// Resident memory in bytes, as far as the system tells it.
#[derive(Clone, Copy, Default)]
pub(super) struct Memory {
    /// When the work began.
    pub(super) before: Option<u64>,
    /// The most while it was done; unknown if the process had more before and may not reset the
    /// peak.
    pub(super) peak: Option<u64>,
}

/// Watches for the peak of a piece of work.
pub(super) struct Watch {
    before: Option<u64>,
    /// The peak of the process so far.
    highest: Option<u64>,
}

impl Watch {
    pub(super) fn begin() -> Self {
        // 5 resets the peak to what is resident now (proc(5)); whether that was allowed shows in
        // the next reading.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Watch { before: status("VmRSS:"), highest: status("VmHWM:") }
    }

    pub(super) fn end(self) -> Memory {
        let was_reset = self.highest <= self.before.map(|before| before + RESET);
        let peak = status("VmHWM:").filter(|now| was_reset || Some(*now) > self.highest);
        Memory { before: self.before, peak }
    }
}

/// A field of `/proc/self/status` that is in KiB.
fn status(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
