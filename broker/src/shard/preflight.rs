//! What the machine must grant before a core can start: descriptors, locked memory, io_uring, CPUs.
//!
//! `boot` calls this first, so that a missing permission is one clear line and not a panic of the runtime. Deliberately
//! absent: anything about log directories or ports.

use std::io;

/// glommio refuses to start below this (its rings register buffers).
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Below this a broker with a few clients and partitions would soon be without descriptors; it is what most systems give a
/// process that asks for nothing.
const OPEN_FILES_MIN: u64 = 1024;

/// Why no core can run here. Each message names the limit and the way out.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// `ulimit -l` is too low.
    #[error(
        "the limit on locked memory (RLIMIT_MEMLOCK, ulimit -l) is {bytes} bytes and io_uring needs {MEMLOCK_BYTES_MIN}; \
         raise it, for example with LimitMEMLOCK=infinity (systemd) or --ulimit memlock=-1 (containers)"
    )]
    Memlock {
        /// The soft limit after raising it as far as the hard one.
        bytes: u64,
    },
    /// `ulimit -n` is too low.
    #[error(
        "the limit on open files (RLIMIT_NOFILE, ulimit -n) is {files} and connections and segments need {OPEN_FILES_MIN}; \
         raise it, for example with LimitNOFILE=1048576 (systemd) or --ulimit nofile=1048576 (containers)"
    )]
    OpenFiles {
        /// The soft limit after raising it as far as the hard one.
        files: u64,
    },
    /// The kernel has no io_uring, or may not be asked for it.
    #[error("io_uring is not available ({reason}); {way_out}")]
    IoUring {
        /// What the kernel said.
        reason: io::Error,
        /// What to change.
        way_out: &'static str,
    },
    /// A limit or CPU set could not be read or set.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What the machine granted.
#[derive(Debug, Clone)]
pub struct Granted {
    /// Descriptors this process may have open.
    pub open_files_max: u64,
    /// CPUs this process may run on, ascending.
    pub cpus: Vec<usize>,
}

/// Raises NOFILE to its hard limit and checks everything that the cores need.
///
/// # Errors
/// [`PreflightError`] with the one line to show before exiting.
pub fn preflight() -> Result<Granted, PreflightError> {
    let open_files_max = raise_limit(libc::RLIMIT_NOFILE, "raising the limit on open files (RLIMIT_NOFILE)")?;
    check_open_files(open_files_max)?;
    let memlock = raise_limit(libc::RLIMIT_MEMLOCK, "raising the limit on locked memory (RLIMIT_MEMLOCK)")?;
    check_memlock(memlock)?;
    check_io_uring(probe_io_uring())?;
    Ok(Granted { open_files_max, cpus: allowed_cpus()? })
}

fn check_open_files(files: u64) -> Result<(), PreflightError> {
    if files < OPEN_FILES_MIN { Err(PreflightError::OpenFiles { files }) } else { Ok(()) }
}

fn check_memlock(bytes: u64) -> Result<(), PreflightError> {
    if bytes < MEMLOCK_BYTES_MIN { Err(PreflightError::Memlock { bytes }) } else { Ok(()) }
}

fn check_io_uring(probed: io::Result<()>) -> Result<(), PreflightError> {
    let reason = match probed {
        Ok(()) => return Ok(()),
        Err(reason) => reason,
    };
    let way_out = match reason.raw_os_error() {
        Some(libc::ENOSYS) => "a Linux kernel of 5.8 or later with CONFIG_IO_URING is needed",
        Some(libc::EPERM | libc::EACCES) => {
            "allow it: sysctl kernel.io_uring_disabled=0, and in a container a seccomp profile that permits io_uring \
             (for example --security-opt seccomp=unconfined)"
        }
        _ => "check dmesg, the memory limits and the limit on open files",
    };
    Err(PreflightError::IoUring { reason, way_out })
}

fn raise_limit(resource: libc::__rlimit_resource_t, what: &'static str) -> Result<u64, PreflightError> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the kernel to fill in.
    #[allow(unsafe_code)]
    let read = unsafe { libc::getrlimit(resource, &mut limit) };
    if read != 0 {
        return Err(PreflightError::System { what, source: io::Error::last_os_error() });
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: `raised` is a valid rlimit that the kernel only reads.
        #[allow(unsafe_code)]
        let set = unsafe { libc::setrlimit(resource, &raised) };
        // Some hard limits are above what the kernel takes (fs.nr_open): the soft one then simply stays.
        if set == 0 {
            limit = raised;
        }
    }
    Ok(limit.rlim_cur)
}

fn probe_io_uring() -> io::Result<()> {
    // struct io_uring_params: 120 bytes, all zero asks for nothing special.
    let mut params = [0_u64; 15];
    // SAFETY: the kernel reads and fills `params`, which has the size and alignment of struct io_uring_params.
    #[allow(unsafe_code)]
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 2, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    #[allow(unsafe_code)]
    unsafe {
        libc::close(fd as libc::c_int);
    }
    Ok(())
}

fn allowed_cpus() -> Result<Vec<usize>, PreflightError> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    #[allow(unsafe_code)]
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills `set`, whose size is given.
    #[allow(unsafe_code)]
    let read = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if read != 0 {
        return Err(PreflightError::System {
            what: "reading the CPUs this process may use",
            source: io::Error::last_os_error(),
        });
    }
    // SAFETY: every index is below CPU_SETSIZE.
    #[allow(unsafe_code)]
    let cpus = (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect();
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_runs_the_tests_passes() {
        let granted = preflight().unwrap();
        assert!(!granted.cpus.is_empty());
        assert!(granted.open_files_max > 0);
    }

    #[test]
    fn low_memlock_is_refused_with_limit_and_way_out() {
        let line = check_memlock(64 * 1024).unwrap_err().to_string();
        assert!(line.contains("65536") && line.contains("524288") && line.contains("LimitMEMLOCK"), "{line}");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn few_open_files_are_refused_with_limit_and_way_out() {
        let line = check_open_files(256).unwrap_err().to_string();
        assert!(line.contains("256") && line.contains("1024") && line.contains("LimitNOFILE"), "{line}");
        assert!(!line.contains('\n'));
        assert!(check_open_files(OPEN_FILES_MIN).is_ok());
    }

    #[test]
    fn missing_io_uring_is_refused_with_the_way_out() {
        let refused =
            |errno| check_io_uring(Err(io::Error::from_raw_os_error(errno))).unwrap_err().to_string();
        assert!(refused(libc::EPERM).contains("seccomp"));
        assert!(refused(libc::ENOSYS).contains("kernel"));
    }
}
