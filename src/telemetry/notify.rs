//! What systemd is told of the service's state (sd_notify(3)): datagrams to the socket that `$NOTIFY_SOCKET` names, and nothing
//! without one.

/// How long the manager may leave its queue full.
#[cfg(unix)]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// The connection to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
}

#[cfg(unix)]
impl Notify {
    /// To the socket of this name: a path, or an abstract one that begins with `@`. Whatever is wrong with it, the service runs on
    /// without.
    #[must_use]
    pub fn to(name: Option<&std::ffi::OsStr>) -> Self {
        let socket = name.and_then(|name| match connect(name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the socket of `NOTIFY_SOCKET` cannot be used");
                None
            }
        });
        Self { socket }
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!(%error, "the service manager did not hear");
        }
    }
}

#[cfg(unix)]
fn connect(name: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let address = match name.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(name)?
        }
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that is busy is waited for, as its own library does; one that never listens holds up nobody for long.
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[cfg(not(unix))]
impl Notify {
    /// There is no such manager here.
    #[must_use]
    pub fn to(_: Option<&std::ffi::OsStr>) -> Self {
        Self {}
    }

    fn send(&self, _: &str) {}
}

impl Notify {
    /// The start, or a reload, is over.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", super::one_line(status)));
    }

    /// A reload begins. With the time, by which the manager tells it from an earlier one (`Type=notify-reload`).
    pub fn reloading(&self) {
        if let Some(now) = monotonic() {
            self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
        }
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=running calls end");
    }
}

#[cfg(target_os = "linux")]
fn monotonic() -> Option<u64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).ok()?, u64::try_from(now.tv_nsec).ok()?);
    Some(seconds * 1_000_000 + nanos / 1000)
}

/// Only Linux has that manager.
#[cfg(not(target_os = "linux"))]
fn monotonic() -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn sockets_with_a_path_and_abstract_ones_hear_every_state() {
        use std::os::linux::net::SocketAddrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@sidegate-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let places = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&address).unwrap(), name.into()),
        ];
        for (socket, name) in places {
            socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
            let heard = || {
                let mut message = [0; 512];
                let length = socket.recv(&mut message).unwrap();
                String::from_utf8_lossy(&message[..length]).into_owned()
            };
            let notify = Notify::to(Some(&name));
            notify.ready("four\ntools");
            assert_eq!(heard(), "READY=1\nSTATUS=four\\ntools");
            let before = monotonic().unwrap();
            notify.reloading();
            let message = heard();
            let time: u64 = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
            assert!((before..=monotonic().unwrap()).contains(&time), "{message}");
            notify.stopping();
            assert!(heard().starts_with("STOPPING=1\n"));
        }
    }

    #[test]
    fn nobody_and_a_manager_that_has_gone_hold_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        for name in [None, Some(path.as_os_str()), Some(std::ffi::OsStr::new(""))] {
            Notify::to(name).ready("up");
        }
        let socket = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(Some(path.as_os_str()));
        fill(&path);
        notify.ready("up");
        drop(socket);
        notify.stopping();
    }
    /// Sends until no more is taken.
    fn fill(path: &std::path::Path) -> usize {
        let Ok(other) = UnixDatagram::unbound() else { return 0 };
        if other.set_nonblocking(true).is_err() {
            return 0;
        }
        (0..100_000).take_while(|_| other.send_to(b"X=1", path).is_ok()).count()
    }

    #[test]
    fn a_manager_that_is_busy_hears_it_when_it_listens_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let notify = Notify::to(Some(path.as_os_str()));
        let waiting = fill(&path);
        assert!((1..100_000).contains(&waiting));
        let manager = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let mut message = [0; 512];
            let mut last = 0;
            for _ in 0..=waiting {
                last = socket.recv(&mut message).unwrap();
            }
            String::from_utf8_lossy(&message[..last]).into_owned()
        });
        notify.ready("up");
        assert_eq!(manager.join().unwrap(), "READY=1\nSTATUS=up");
    }
}
