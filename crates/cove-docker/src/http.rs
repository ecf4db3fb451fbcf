//! Errors as Docker's protocol has them.

use cove_engine::ErrorKind;

/// The HTTP status that tells of an error of this kind.
#[must_use]
pub const fn status(kind: ErrorKind) -> u16 {
    match kind {
        // A program that cannot be run is a mistake in the container's configuration.
        ErrorKind::InvalidInput | ErrorKind::CommandNotFound | ErrorKind::CommandNotExecutable => {
            400
        }
        ErrorKind::Unauthorized => 401,
        ErrorKind::Unavailable => 503,
        ErrorKind::NotFound => 404,
        ErrorKind::Conflict => 409,
        ErrorKind::Internal | ErrorKind::Cancelled => 500,
        ErrorKind::Unsupported => 501,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_status_of_dockers() {
        for (kind, code) in [
            (ErrorKind::NotFound, 404),
            (ErrorKind::Conflict, 409),
            (ErrorKind::InvalidInput, 400),
            (ErrorKind::Unauthorized, 401),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::CommandNotFound, 400),
            (ErrorKind::CommandNotExecutable, 400),
            (ErrorKind::Unsupported, 501),
            (ErrorKind::Internal, 500),
            (ErrorKind::Cancelled, 500),
        ] {
            assert_eq!(status(kind), code, "{kind:?}");
        }
    }
}
