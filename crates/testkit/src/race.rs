//! Something that goes on beside what is tested.

use std::sync::atomic::{AtomicBool, Ordering};

/// Does `work` again and again beside `other`, until that has ended.
pub fn beside(work: impl Fn() + Sync, other: impl FnOnce()) {
    struct Ended<'a>(&'a AtomicBool);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ended, work) = (&ended, &work);
        scope.spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                work();
            }
        });
        // Also where `other` fails, which would wait for the thread forever.
        let _ends = Ended(ended);
        other();
    });
}
