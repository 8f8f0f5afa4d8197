//! What kinds of failure there are, and whose fault each is.

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The caller's: other arguments would work.
    Caller,
    /// Ours.
    Gateway,
    /// The system behind a source.
    Upstream,
}

/// Stable codes, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Called too often.
    RateLimited,
    /// The arguments were refused.
    InvalidArguments,
    /// There is nothing for these arguments.
    NotFound,
    /// The source cannot be reached.
    Unavailable,
    /// The deadline passed.
    Timeout,
    /// The upstream answered with a failure.
    UpstreamStatus,
    /// The upstream's answer cannot be used.
    UpstreamReply,
    /// The answer is too large.
    TooLarge,
    /// The source refused the operation.
    Refused,
    /// The client is asked first, by the result of this round.
    InputRequired,
    /// There is somebody to ask, and the client cannot or will not.
    CannotAsk,
    /// The person said no.
    Declined,
    /// The caller did not prove who they are.
    Unauthenticated,
    /// The caller may not.
    Forbidden,
    /// A fault of our own or of the configuration.
    Internal,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::RateLimited,
        Self::InvalidArguments,
        Self::NotFound,
        Self::Unavailable,
        Self::Timeout,
        Self::UpstreamStatus,
        Self::UpstreamReply,
        Self::TooLarge,
        Self::Refused,
        Self::InputRequired,
        Self::CannotAsk,
        Self::Declined,
        Self::Internal,
    ];

    /// The code as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::InvalidArguments => "invalid_arguments",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::UpstreamStatus => "upstream_status",
            Self::UpstreamReply => "upstream_reply",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::InputRequired => "input_required",
            Self::CannotAsk => "cannot_ask",
            Self::Declined => "declined",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Internal => "internal",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn origin(self) -> Origin {
        match self {
            Self::RateLimited
            | Self::InvalidArguments
            | Self::NotFound
            | Self::InputRequired
            | Self::CannotAsk
            | Self::Declined
            | Self::Unauthenticated
            | Self::Forbidden => Origin::Caller,
            Self::Unavailable
            | Self::Timeout
            | Self::UpstreamStatus
            | Self::UpstreamReply
            | Self::Refused => Origin::Upstream,
            Self::TooLarge | Self::Internal => Origin::Gateway,
        }
    }
}
