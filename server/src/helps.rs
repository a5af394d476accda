//! What each metric says, for `# HELP`; and counters that are there from the start, since one that
//! comes with its first event is not seen to grow.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram};

const COUNTERS: &[(&str, &str)] = &[
    (
        "keyfall_answers_broken_total",
        "answers that ended broken, since the rest of them could not be read",
    ),
    ("keyfall_clean_moved_bytes_total", "live bytes that the cleaner wrote once more"),
    ("keyfall_cleaned_bytes_total", "bytes that the cleaner gave back"),
    ("keyfall_cleaner_failures_total", "failures of the cleaner's thread"),
    ("keyfall_class_put_bytes_total", "bytes of records that were put, by class"),
    ("keyfall_class_puts_total", "records that were put, by class"),
    ("keyfall_commit_failures_total", "commits that failed"),
    ("keyfall_commit_written_bytes_total", "bytes that commits wrote"),
    ("keyfall_commits_total", "commits"),
    (
        "keyfall_discarded_bytes_total",
        "bytes of blobs that were to be removed, and whether they were",
    ),
    ("keyfall_discards_total", "removals of blobs that nothing needs any more"),
    ("keyfall_due_total", "what was done when it was due"),
    ("keyfall_erased_records_total", "records that fell by erases that callers asked for"),
    ("keyfall_erases_total", "erases"),
    ("keyfall_events_lost_total", "events of the engine that no observer saw"),
    ("keyfall_keeper_failures_total", "failures of the keeper's thread"),
    ("keyfall_log_lines_lost_total", "lines of the log that nobody read"),
    ("keyfall_openings_total", "openings of records, and whether the credential names the purpose"),
    ("keyfall_page_cache_hits_total", "pages that were found in the cache"),
    ("keyfall_page_cache_misses_total", "pages that were not found in the cache"),
    ("keyfall_put_bytes_total", "bytes of records that were put"),
    ("keyfall_puts_total", "records that were put"),
    ("keyfall_read_bytes_total", "bytes of records that were read"),
    ("keyfall_reads_cut_total", "readers that were closed"),
    ("keyfall_retirements_total", "root keys known to be destroyed"),
    ("keyfall_tend_failures_total", "calls that did not do all that was due"),
    ("keyfall_troubles_total", "what was due for a user and could not be done"),
];

const GAUGES: &[(&str, &str)] = &[
    ("keyfall_build_info", "1; its labels say what runs"),
    ("keyfall_cleaner_stopped", "1 once the cleaner has stopped"),
    ("keyfall_cleaner_stuck", "1 where the cleaner finds nothing that it may move"),
    ("keyfall_clock_doubted", "1 where the clock is not believed"),
    ("keyfall_clock_off_seconds", "how far the clock is from the time that is known"),
    ("keyfall_copy_in_step", "1 where puts and erases wait for the copy"),
    ("keyfall_copy_lag_commits", "commits that the copy lacks"),
    ("keyfall_copy_up", "0 where the copy is out of reach, or lacks commits"),
    ("keyfall_disk_free_bytes", "bytes that are free"),
    ("keyfall_disk_least_bytes", "bytes that must be free"),
    ("keyfall_due_overdue_seconds", "how long the oldest of what is left has been due"),
    ("keyfall_erase_floor_seconds", "what an erase cannot do without on this disk"),
    ("keyfall_erase_pending_age_seconds", "since when erases have been pending"),
    ("keyfall_erase_window_seconds", "for how long erases may still be pending"),
    ("keyfall_keeper_stopped", "1 where nothing that is due is done any more"),
    ("keyfall_keyholder_up", "1 where the keyholder answers"),
    ("keyfall_keyholders_needed", "keyholders without which the store does not open"),
    ("keyfall_last_audit_timestamp_seconds", "when an audit last succeeded"),
    ("keyfall_last_backup_timestamp_seconds", "when a backup last succeeded"),
    ("keyfall_last_restore_drill_timestamp_seconds", "when a drill last succeeded"),
    ("keyfall_log_unpublished_leaves", "leaves of the log that no checkpoint covered"),
    ("keyfall_open", "engines that are open"),
    ("keyfall_poisoned", "1 where a write failed with an unknown outcome"),
    ("keyfall_restore_drill_rpo_seconds", "how old what the last drill restored was"),
    ("keyfall_restore_drill_rto_seconds", "how long the last drill took"),
    ("keyfall_retirement_unconfirmed_seconds", "since when a root key's destruction is awaited"),
    ("keyfall_secret_memory_bytes", "memory for keys, and whether it can be swapped out"),
    ("keyfall_store_bytes", "bytes of the store"),
    ("keyfall_users", "users that are not erased"),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    ("http_server_request_duration_seconds", "how long requests took"),
    ("keyfall_commit_batch_size", "requests that shared a commit"),
    ("keyfall_commit_duration_seconds", "from the sealed change to its being complete"),
    ("keyfall_commit_wait_seconds", "longest wait for the writer of those served together"),
    ("keyfall_due_late_seconds", "how long the oldest of what was done had been due"),
    ("keyfall_erase_duration_seconds", "whole from an erase's call to its return, and parts"),
];

/// Why what is due can fail.
const KINDS: &[&str] = &["io", "copy", "full", "corrupt", "refused", "poisoned"];
/// Why readers are closed.
const CLOSED: &[&str] = &["erase", "grant", "opening", "owner"];

/// Says what each metric is, and begins those counters.
pub(crate) fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(*name, *help);
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(*name, *help);
    }
    for kind in KINDS {
        counter!("keyfall_tend_failures_total", "kind" => *kind).increment(0);
    }
    for why in CLOSED {
        counter!("keyfall_reads_cut_total", "why" => *why).increment(0);
    }
    counter!("keyfall_answers_broken_total").increment(0);
    counter!("keyfall_log_lines_lost_total").increment(0);
}
