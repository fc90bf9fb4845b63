//! What contexts are told of their I/O threads: name, scheduling, processors.

use std::ffi::CString;

use libc::c_int;

use crate::context::Settings;

/// Most characters of a thread's name on Linux.
const NAME: usize = 15;

/// Lowest niceness, which is the highest priority that ordinary scheduling has.
const LEAST_NICE: c_int = -20;

pub(crate) struct Threads {
    prefix: Vec<u8>,
    policy: c_int,
    priority: c_int,
    processors: Vec<c_int>,
}

impl Threads {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            prefix: settings.name_prefix.clone(),
            policy: settings.sched_policy,
            priority: settings.sched_priority,
            processors: settings.cpus.clone(),
        }
    }

    /// The name by which tools show the I/O thread of this number.
    fn name(&self, number: usize) -> CString {
        let mut name = self.prefix.clone();
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(format!("ZMQbg/IO/{number}").as_bytes());
        name.retain(|&octet| octet != 0);
        name.truncate(NAME);
        CString::new(name).unwrap_or_default()
    }

    /// Called by each I/O thread. What the system refuses stays as it was: for most of it a program needs rights.
    pub(crate) fn begin(&self, number: usize) {
        let name = self.name(number);
        // SAFETY: the thread's own, and a text that lives longer than the call.
        unsafe { libc::pthread_setname_np(libc::pthread_self(), name.as_ptr()) };
        self.schedule();
        if self.processors.is_empty() {
            return;
        }
        // SAFETY: a set of zeros is an empty one, and no processor beyond its end is added.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            for &processor in &self.processors {
                if let Ok(processor) = usize::try_from(processor)
                    && processor < libc::CPU_SETSIZE as usize
                {
                    libc::CPU_SET(processor, &mut set);
                }
            }
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }

    fn schedule(&self) {
        let real_time = matches!(self.policy, libc::SCHED_FIFO | libc::SCHED_RR);
        if self.policy >= 0 {
            let sched_priority = if real_time { self.priority.max(0) } else { 0 };
            // SAFETY: the thread's own, and a value that lives longer than the call.
            unsafe {
                let mut parameters: libc::sched_param = std::mem::zeroed();
                parameters.sched_priority = sched_priority;
                libc::pthread_setschedparam(libc::pthread_self(), self.policy, &raw const parameters);
            }
        }
        if !real_time && self.priority > 0 {
            // SAFETY: a call without pointers; 0 is the calling thread.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LEAST_NICE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_named_by_prefix_and_number() {
        let named = |prefix: &str| {
            let threads = Threads { prefix: prefix.into(), policy: -1, priority: -1, processors: Vec::new() };
            threads.name(0).into_string().unwrap()
        };
        assert_eq!(named(""), "ZMQbg/IO/0");
        assert_eq!(named("me"), "me/ZMQbg/IO/0");
        assert_eq!(named("much longer"), "much longer/ZMQ");
    }
}
