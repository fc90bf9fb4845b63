//! The lock that is modelled: parking_lot's, or loom's when every interleaving is to be tried.

#[cfg(not(oxzmq_loom))]
pub(crate) use parking_lot::Mutex;

#[cfg(oxzmq_loom)]
pub(crate) use model::Mutex;

#[cfg(oxzmq_loom)]
mod model {
    /// loom's lock with parking_lot's face. Outside a model it is not used.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("loom stops at the first panic")
        }
    }
}
