//! What every store promises, by each client: all of it on the server in memory, and on s3s-fs, which checks
//! signatures, all that can be had there.

use crate::server::{Settings, on_fast, on_s3s};
use forebay_io_s3::ClientKind;
use forebay_io_testkit::Fixture;
use forebay_io_testkit::conformance;

/// s3s-fs keeps objects as files: what is a folder there is no missing object but an error of the server, a
/// name has 255 bytes at most, an object cannot go on beneath another, and of several that create one object
/// at once more than one may win. Its listings have no ETags, and the
/// checksum of an object that is being replaced may be another one's. Those promises are not in this list; the server
/// in memory keeps them.
macro_rules! promises_on_s3s {
    ($fixture:expr) => {
        $crate::conformance::promises! { $fixture;
            get_reads_whole_objects
            get_reads_ranges
            get_of_an_empty_object_places_nothing
            get_beyond_the_end_is_an_invalid_range
            get_of_a_missing_object_is_not_found
            get_of_another_version_is_refused
            get_of_what_the_place_can_never_hold_is_refused
            get_waits_for_memory
            get_many_answers_in_the_order_of_requests
            get_many_members_fail_alone
            get_many_of_nothing_answers_nothing
            get_many_reads_parts_of_one_object
            get_many_checks_versions
            get_many_waits_for_memory
            get_many_never_deadlocks_under_a_small_budget
            opened_objects_serve_ranges
            opened_objects_give_the_buffer_back_on_failure
            opened_objects_read_many_in_the_order_given
            opened_objects_are_one_version
            open_of_a_missing_object_is_not_found
            stat_tells_size_and_version
            stat_of_a_missing_object_is_not_found
            list_finds_every_object_beneath
            list_of_one_level_shows_directories
            list_keeps_to_the_glob
            list_of_a_missing_location
            list_of_an_empty_root_is_empty
            list_of_an_object_is_that_object
            list_of_a_prefix_has_no_siblings
            list_gives_many_entries_once_each
            list_may_be_dropped_half_way
            names_that_are_not_utf8
            put_replaces
            put_takes_bodies_in_chunks
            put_durable_puts
            put_whose_body_fails_leaves_nothing
            put_of_another_length_than_promised_leaves_nothing
            put_dropped_half_way_leaves_nothing
            delete_removes
            delete_of_a_missing_object
            delete_many_removes_what_it_names
            delete_many_members_fail_alone
            delete_many_of_nothing_answers_nothing
            page_cache_policy_is_obeyed_or_refused
            dropped_gets_leak_nothing
            dropped_waits_leak_nothing
            dropped_reads_of_objects_leak_nothing
            dropped_calls_leave_the_store_usable
        }
    };
}

/// What can be had on any server but s3s-fs, except names with control characters, which not every client
/// takes.
macro_rules! promises_of_others {
    ($fixture:expr) => {
        $crate::conformance::promises! { $fixture;
            get_of_a_directory_is_refused
            open_of_a_directory_is_refused
            stat_of_a_directory
            list_gives_details_when_asked
            put_create_never_replaces
            put_create_has_one_winner
            put_is_atomic_for_readers
            put_over_a_directory
            put_beneath_an_object
            delete_of_a_directory_keeps_what_is_in_it
        }
    };
}

macro_rules! promises {
    ($fixture:expr; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let fixture = async || $fixture;
                forebay_io_testkit::conformance::run(stringify!($name), fixture, conformance::$name);
            }
        )*
    };
}
pub(crate) use promises;

mod ours {
    use super::*;

    async fn fixture() -> Fixture {
        on_fast(ClientKind::Forebay, Settings::default())
    }

    forebay_io_testkit::conformance_suite!(fixture);
}

/// Every object of the suite has several parts.
mod ours_in_small_parts {
    use super::*;

    async fn fixture() -> Fixture {
        on_fast(ClientKind::Forebay, Settings { small_parts: true, ..Settings::default() })
    }

    forebay_io_testkit::conformance_suite!(fixture);
}

/// Each read is one request, and listings run side by side.
mod ours_in_one_request {
    use super::*;

    async fn fixture() -> Fixture {
        on_fast(ClientKind::Forebay, Settings { whole: true, fanout: 4, ..Settings::default() })
    }

    forebay_io_testkit::conformance_suite!(fixture);
}

mod ours_with_signatures {
    use super::*;

    promises_on_s3s!(on_s3s(ClientKind::Forebay));
}

#[cfg(feature = "object-store")]
mod object_store {
    use super::*;

    promises_on_s3s!(on_fast(ClientKind::ObjectStore, Settings::default()));
    promises_of_others!(on_fast(ClientKind::ObjectStore, Settings::default()));
}

#[cfg(feature = "object-store")]
mod object_store_in_small_parts {
    use super::*;

    promises_on_s3s!(on_fast(ClientKind::ObjectStore, Settings { small_parts: true, ..Settings::default() }));
}

#[cfg(feature = "object-store")]
mod object_store_with_signatures {
    use super::*;

    promises_on_s3s!(on_s3s(ClientKind::ObjectStore));
}

#[cfg(feature = "rusoto")]
mod rusoto {
    use super::*;

    promises_on_s3s!(on_fast(ClientKind::Rusoto, Settings::default()));
    promises_of_others!(on_fast(ClientKind::Rusoto, Settings::default()));
}

#[cfg(feature = "rusoto")]
mod rusoto_in_small_parts {
    use super::*;

    promises_on_s3s!(on_fast(ClientKind::Rusoto, Settings { small_parts: true, ..Settings::default() }));
}

#[cfg(feature = "rusoto")]
mod rusoto_with_signatures {
    use super::*;

    promises_on_s3s!(on_s3s(ClientKind::Rusoto));
}
