//! All requests of the comparison, by what is tried.

mod calls;
mod door;
mod envelope;
mod handshake;
mod headers;
mod messages;
mod methods;
mod sessions;

use super::request::Request;

pub fn all() -> Vec<Request> {
    let parts = [
        calls::good(),
        calls::bad_tools(),
        calls::bad_others(),
        methods::both(),
        methods::modern(),
        methods::legacy(),
        envelope::all(),
        headers::routing(),
        headers::params(),
        messages::texts(),
        messages::members(),
        messages::notifications(),
        door::types(),
        door::places(),
        handshake::initialize(),
        handshake::versions(),
        sessions::all(),
        sessions::batches(),
    ];
    parts.concat()
}
