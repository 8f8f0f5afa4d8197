//! What a connection lets a statement do. SQLite asks about every action while it compiles a statement, whatever the text looks
//! like; what a route is not to do is refused there, and so is what would stay on the connection for the next call.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use libsqlite3_sys as sqlite;
use sqlx::sqlite::LockedSqliteHandle;

use crate::source::SourceError;
use crate::source::database::Access;

/// The guard's name among the data of a connection.
const NAME: &CStr = c"sidegate-guard";
/// Our own statements: transactions and modes.
const OWN: u8 = 0;
const READ: u8 = 1;
const WRITE: u8 = 2;

/// Functions that reach out of the database. Most are not built in; none is missed.
const REACH_OUT: &[&str] =
    &["load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "vec_npy_file"];
/// Functions that tell of the statements before, which were other calls'. Triggers may use them: there they tell of their own.
const LOOK_BACK: &[&str] = &["last_insert_rowid", "changes", "total_changes"];
/// What can be asked about a table or an index, by `pragma_table_info('t')` and the like.
const ABOUT: &[&str] = &[
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
];
/// What can be asked about the database; with a value these would set it.
const ASKED: &[&str] = &[
    "table_list",
    "collation_list",
    "function_list",
    "module_list",
    "compile_options",
    "encoding",
    "user_version",
    "application_id",
    "schema_version",
    "data_version",
    "page_count",
    "page_size",
    "freelist_count",
];

/// The ends of the names of an R-tree's own tables.
const TREE: &[&str] = &["_node", "_parent", "_rowid"];

/// The guard of one connection, which holds it too.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<AtomicU8>);

impl Guard {
    /// The guard of this connection, set up if it has none; it lets our own statements through.
    #[expect(
        unsafe_code,
        reason = "the driver has no way to set an authorizer, nor to keep data with a connection"
    )]
    pub(super) fn of(handle: &mut LockedSqliteHandle<'_>) -> Result<Self, SourceError> {
        let db = handle.as_raw_handle().as_ptr();
        // SAFETY: `db` is open and nobody else uses it while its handle is locked. Under `NAME` there is nothing or what is put
        // there below, which the connection holds until it closes.
        let guard = unsafe {
            let known = sqlite::sqlite3_get_clientdata(db, NAME.as_ptr()).cast_const().cast::<AtomicU8>();
            if known.is_null() {
                None
            } else {
                Arc::increment_strong_count(known);
                Some(Self(Arc::from_raw(known)))
            }
        };
        let guard = match guard {
            Some(guard) => guard,
            None => {
                let lets = Arc::new(AtomicU8::new(OWN));
                let data = Arc::into_raw(lets.clone()).cast_mut().cast::<c_void>();
                // SAFETY: as above. `data` belongs to the connection from here on, which calls `forget` once, when it closes or if
                // this fails, and `authorize` only while it is open. `SQLITE_DBCONFIG_DEFENSIVE` takes an int and a pointer that may
                // be null.
                let status = unsafe {
                    match sqlite::sqlite3_set_clientdata(db, NAME.as_ptr(), data, Some(forget)) {
                        sqlite::SQLITE_OK => {
                            let nowhere = std::ptr::null_mut::<c_int>();
                            sqlite::sqlite3_set_authorizer(db, Some(authorize), data)
                                | sqlite::sqlite3_db_config(
                                    db,
                                    sqlite::SQLITE_DBCONFIG_DEFENSIVE,
                                    1 as c_int,
                                    nowhere,
                                )
                        }
                        failed => failed,
                    }
                };
                if status != sqlite::SQLITE_OK {
                    return Err(SourceError::Internal(format!(
                        "no guard could be set: SQLite's code {status}"
                    )));
                }
                Self(lets)
            }
        };
        guard.let_own();
        Ok(guard)
    }

    /// What is compiled from now on is our own.
    pub(super) fn let_own(&self) {
        self.0.store(OWN, Ordering::Release);
    }

    /// What is compiled from now on is a route's.
    pub(super) fn let_route(&self, access: Access) {
        let lets = match access {
            Access::Read => READ,
            Access::Write => WRITE,
        };
        self.0.store(lets, Ordering::Release);
    }
}

/// The longest pattern of LIKE and GLOB. SQLite compares a long one with each place of a long text, and looks at no deadline before it is
/// through.
pub(super) const LONGEST_PATTERN: c_int = 1_000;

/// How long a value or a row may be from now on, and a pattern; a statement that meets a longer one fails.
#[expect(unsafe_code, reason = "the driver has no way to set a limit")]
pub(super) fn limit_length(handle: &mut LockedSqliteHandle<'_>, bytes: usize) {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    let db = handle.as_raw_handle().as_ptr();
    // SAFETY: the connection is open, and nobody else uses it while its handle is locked.
    unsafe {
        sqlite::sqlite3_limit(db, sqlite::SQLITE_LIMIT_LENGTH, bytes);
        sqlite::sqlite3_limit(db, sqlite::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LONGEST_PATTERN);
    }
}

/// The connection lets go of its guard.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn forget(data: *mut c_void) {
    // SAFETY: `data` came from `Arc::into_raw`, and SQLite calls this once.
    drop(unsafe { Arc::from_raw(data.cast_const().cast::<AtomicU8>()) });
}

/// <https://www.sqlite.org/c3ref/set_authorizer.html>
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn authorize(
    data: *mut c_void,
    code: c_int,
    first: *const c_char,
    second: *const c_char,
    schema: *const c_char,
    within: *const c_char,
) -> c_int {
    // SAFETY: `data` is what the connection holds until it closes, and it compiles nothing after.
    let lets = unsafe { &*data.cast_const().cast::<AtomicU8>() }.load(Ordering::Acquire);
    let text = |text: *const c_char| {
        // SAFETY: SQLite hands over texts that end, or null.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
    };
    let action =
        Action { code, first: text(first), second: text(second), schema: text(schema), within: text(within) };
    if lets == OWN || action.allowed(lets == WRITE) { sqlite::SQLITE_OK } else { sqlite::SQLITE_DENY }
}

/// What a statement would do.
struct Action<'a> {
    code: c_int,
    first: Option<&'a [u8]>,
    second: Option<&'a [u8]>,
    schema: Option<&'a [u8]>,
    /// The trigger or view that does it.
    within: Option<&'a [u8]>,
}

impl Action<'_> {
    /// Whether a route may do it.
    fn allowed(&self, writes: bool) -> bool {
        match self.code {
            sqlite::SQLITE_SELECT | sqlite::SQLITE_READ | sqlite::SQLITE_RECURSIVE => true,
            sqlite::SQLITE_FUNCTION => {
                !among(REACH_OUT, self.second) && (self.within.is_some() || !among(LOOK_BACK, self.second))
            }
            sqlite::SQLITE_PRAGMA => among(if self.second.is_some() { ABOUT } else { ASKED }, self.first),
            // Rows, and the schema with everything that changes it. Full-text search undoes its own work by savepoints; a route's
            // end with its transaction.
            sqlite::SQLITE_INSERT
            | sqlite::SQLITE_UPDATE
            | sqlite::SQLITE_DELETE
            | sqlite::SQLITE_CREATE_TABLE
            | sqlite::SQLITE_CREATE_INDEX
            | sqlite::SQLITE_CREATE_VIEW
            | sqlite::SQLITE_CREATE_TRIGGER
            | sqlite::SQLITE_CREATE_VTABLE
            | sqlite::SQLITE_DROP_TABLE
            | sqlite::SQLITE_DROP_INDEX
            | sqlite::SQLITE_DROP_VIEW
            | sqlite::SQLITE_DROP_TRIGGER
            | sqlite::SQLITE_DROP_VTABLE
            | sqlite::SQLITE_ALTER_TABLE
            | sqlite::SQLITE_REINDEX
            | sqlite::SQLITE_ANALYZE
            | sqlite::SQLITE_SAVEPOINT => (writes && !self.passing()) || self.prepares_tree(),
            // Other files, transactions, and what lives as long as the connection.
            _ => false,
        }
    }

    /// Whether it is of the statements that an R-tree prepares also when it is only read. Where it is run in a read, the mode of the
    /// connection refuses it.
    fn prepares_tree(&self) -> bool {
        matches!(self.code, sqlite::SQLITE_INSERT | sqlite::SQLITE_UPDATE | sqlite::SQLITE_DELETE)
            && self.first.is_some_and(|table| TREE.iter().any(|end| table.ends_with(end.as_bytes())))
    }

    /// Whether it makes what lives as long as the connection. Rows are not asked for: a table's new name is looked for there too.
    fn passing(&self) -> bool {
        self.schema == Some(b"temp")
            && !matches!(self.code, sqlite::SQLITE_INSERT | sqlite::SQLITE_UPDATE | sqlite::SQLITE_DELETE)
    }
}

fn among(names: &[&str], name: Option<&[u8]>) -> bool {
    name.is_some_and(|name| names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name)))
}
