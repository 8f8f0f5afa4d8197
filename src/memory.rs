//! Memory that is free again goes back to the system: reading a configuration takes several times the room of what comes of it, and the
//! allocator would keep that for ever.

/// Gives back what is free. It takes some milliseconds for each hundred megabytes, so it is for the moments after a large piece of work,
/// on a thread that may block.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(
            unsafe_code,
            reason = "a call of the C library that takes a number and touches free memory only"
        )]
        // SAFETY: malloc_trim(3) may be called at any time, by any thread.
        let _: i32 = unsafe { libc::malloc_trim(0) };
    }
}
