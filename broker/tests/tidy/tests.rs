//! Plants one violation of each rule and expects it to be found, and its lawful neighbour to pass.

use super::rules::findings;

fn refused(path: &str, text: &str, expected: &str) {
    let found = findings(path, text);
    assert!(found.iter().any(|f| f.contains(expected)), "{path}: expected `{expected}` in {found:?}");
}

fn accepted(path: &str, text: &str) {
    assert_eq!(findings(path, text), Vec::<String>::new(), "{path}");
}

#[test]
fn an_import_that_points_up_is_found() {
    refused("broker/src/shard/mailbox.rs", "//! a\nuse crate::net::Frame;\n", "must not know `net`");
    refused("broker/src/api/mod.rs", "//! a\nuse super::net::Frame;\n", "must not know `net`");
    refused(
        "broker/src/shard/mailbox.rs",
        "//! a\nuse crate::{\n    drive::{X, Y},\n    api,\n};\n",
        "`api`",
    );
    refused("broker/src/main.rs", "//! a\nfn main() { corelog::net::run() }\n", "must not know `net`");
}

#[test]
fn an_import_that_points_down_is_fine() {
    accepted("broker/src/net/connection.rs", "//! a\nuse crate::{api::Service, shard};\n");
    accepted(
        "broker/src/shard/mailbox.rs",
        "//! a\n// like crate::net::Frame\nuse crate::shard::net_names;\n",
    );
    accepted("broker/src/shard/mailbox/tests.rs", "//! a\nuse crate::net::Frame;\n");
}

#[test]
fn wire_types_and_glommio_stay_in_their_rooms() {
    refused("broker/src/net/frame.rs", "//! a\nuse kafka_protocol::messages;\n", "wire types");
    accepted("broker/src/api/03_metadata.rs", "//! a\nuse kafka_protocol::messages;\n");
    refused("storage/src/log/mod.rs", "//! a\nuse glommio::io::DmaFile;\n", "behind storage/src/io");
    accepted("storage/src/io/glommio.rs", "//! a\nuse glommio::io::DmaFile;\n");
}

#[test]
fn clocks_chance_and_async_in_logic_are_found() {
    refused("broker/logic/src/group/mod.rs", "//! a\nlet now = Instant::now();\n", "`Instant::now`");
    refused("broker/logic/src/group/mod.rs", "//! a\nasync fn run() {}\n", "`async fn`");
    accepted("broker/logic/src/group/mod.rs", "//! a\n// no tokio here\nfn run(now_ms: i64) {}\n");
    accepted("broker/src/drive/mod.rs", "//! a\nlet now = Instant::now();\n");
}

#[test]
fn a_dependency_against_the_arrows_is_found() {
    refused("storage/Cargo.toml", "[dependencies]\ncorelog-logic.workspace = true\n", "`corelog-logic`");
    refused("broker/logic/Cargo.toml", "[dependencies]\nrand = \"0.9\"\n", "`rand`");
    accepted("broker/logic/Cargo.toml", "[dev-dependencies]\nrand = \"0.9\"\n");
}

#[test]
fn a_file_that_outgrew_its_room_is_found() {
    let text = |lines: usize| format!("//! a\n{}", "x\n".repeat(lines - 1));
    refused("bench/src/main.rs", &text(601), "601 lines");
    accepted("bench/src/main.rs", &text(600));
}

#[test]
fn a_file_that_does_not_say_its_job_is_found() {
    refused("bench/src/main.rs", "use std::io;\n", "open with");
}

#[test]
fn names_marks_and_machine_paths_are_found() {
    refused("storage/src/utils.rs", "//! a\n", "`utils` says nothing");
    refused("broker/tests/common/mod.rs", "//! a\n", "`common` says nothing");
    refused("README.md", &format!("{}: later\n", concat!("TO", "DO")), "absent, not marked");
    refused("scripts/x", concat!("cd /wo", "rk/here\n"), "path of one machine");
}
