//! The rules that tests break on purpose, and the name of the test that must notice each. Shared with `crash_points`.

use corelog_storage::{journal, log};

/// Bugs to plant, in the journal and above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    pub journal: journal::Bugs,
    pub log: log::Bugs,
}

/// Hands every bug that a sample of crash points uncovers to a macro, with the name of its test.
macro_rules! for_each_bug {
    ($then:ident) => {
        $then! {
            acknowledging_before_the_flush_is_noticed: journal.acknowledge_before_flush,
            acknowledging_out_of_order_is_noticed: journal.acknowledge_out_of_order,
            replaying_unchained_commits_is_noticed: journal.accept_unchained,
            replaying_retired_sessions_is_noticed: journal.accept_old_session,
            recycling_before_the_checkpoint_is_noticed: journal.recycle_before_checkpoint,
            skipping_directory_flushes_of_journals_is_noticed: journal.skip_directory_flush,
            showing_before_durable_is_noticed: log.show_before_durable,
            losing_tenant_state_is_noticed: log.lose_tenant_state,
            skipping_directory_flushes_of_logs_is_noticed: log.skip_directory_flush,
            skipping_segment_flushes_is_noticed: log.skip_segment_flush,
            misplacing_the_tail_is_noticed: log.misplace_tail,
            evicting_what_is_uncovered_is_noticed: log.evict_uncovered,
            releasing_before_the_checkpoint_is_noticed: log.release_before_checkpoint,
            skipping_flushes_of_blocks_in_place_is_noticed: journal.skip_in_place_flush,
            writing_into_new_files_is_noticed: log.write_into_new_files,
            acknowledging_a_log_start_early_is_noticed: log.acknowledge_log_start_early,
            forgetting_the_log_start_is_noticed: log.forget_log_start,
            removing_segments_before_the_checkpoint_is_noticed: log.remove_before_checkpoint,
            sweeping_open_segments_is_noticed: log.sweep_open_segments,
            swapping_before_the_flush_is_noticed: log.swap_before_flush,
            replacing_before_the_checkpoint_is_noticed: log.replace_before_checkpoint,
            dropping_tombstones_early_is_noticed: log.drop_tombstones_early,
            losing_the_newest_record_of_a_key_is_noticed: log.lose_newest_records,
            expiring_what_is_not_durable_is_noticed: log.expire_undurable_records,
            expiring_the_active_segment_is_noticed: log.expire_active_segment,
            scrubbing_without_the_tail_is_noticed: log.scrub_without_tail,
        }
    };
}
pub(crate) use for_each_bug;
