//! The SQLite engine under SQL and vector sources: opening, read-only by the engine, deadlines inside it, and rows to JSON.

mod describe;
mod fill;
mod guard;
mod plan;
mod row;
mod run;
mod watch;

pub(super) use plan::SqlitePlan;
pub(super) use run::Sqlite;

/// Makes sqlite-vec's functions part of every SQLite connection of this process. Called once, before the first
/// connection is opened.
#[expect(
    unsafe_code,
    reason = "the one registration of the embedded SQLite extension; its entry point has this C signature"
)]
pub fn register_extensions() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: `sqlite3_vec_init` is an SQLite extension entry point, which is what `sqlite3_auto_extension` calls it as.
        let status = unsafe {
            let entry: unsafe extern "C" fn() = sqlite_vec::sqlite3_vec_init;
            libsqlite3_sys::sqlite3_auto_extension(Some(std::mem::transmute::<
                unsafe extern "C" fn(),
                unsafe extern "C" fn(
                    *mut libsqlite3_sys::sqlite3,
                    *mut *mut std::ffi::c_char,
                    *const libsqlite3_sys::sqlite3_api_routines,
                ) -> std::ffi::c_int,
            >(entry)))
        };
        if status != libsqlite3_sys::SQLITE_OK {
            tracing::error!(status, "sqlite-vec could not be registered; vector search on SQLite will fail");
        }
    });
}
