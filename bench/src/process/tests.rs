//! The parsers of /proc on text as the kernel writes it.

use super::*;

#[test]
fn cpu_ticks_are_found_behind_a_name_with_spaces_and_parentheses() {
    let stat = "4711 (a) b (c)) S 1 4711 4711 0 -1 4194560 1 2 3 4 120 34 9 9 20 0 5 0 100 1 2";
    assert_eq!(cpu_ticks(stat), Some(154));
    assert_eq!(cpu_ticks("4711 (cut"), None);
    assert_eq!(cpu_ticks("4711 (short) S 1 2"), None);
}

#[test]
fn memory_is_in_bytes() {
    let status = "Name:\tx\nVmPeak:\t  9 kB\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
    assert_eq!(memory_of(status), Some(Memory { resident_bytes: 1 << 20, resident_bytes_max: 2 << 20 }));
    assert_eq!(memory_of("Name:\tkthread\n"), None);
}

#[test]
fn waiting_for_the_disk_counts_as_idle() {
    let stat = "cpu  10 20 30 400 50 6 7 80 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
    assert_eq!(machine_ticks(stat), Some((450, 80)));
}

#[test]
fn this_process_has_used_memory_and_its_own_cpu_only_grows() {
    let pid = std::process::id();
    let before = cpu_s(pid).unwrap();
    let memory = memory(pid).unwrap();
    assert!(memory.resident_bytes > 0 && memory.resident_bytes_max >= memory.resident_bytes);
    assert!(cpu_s(pid).unwrap() >= before);
    assert!(machine_cpu().unwrap().idle_s > 0.0);
}
