//! Parts that the HTTP servers of sailhand share: a listener with a limit of connections, the check of host names, the
//! verification of bearer tokens and client certificates, and the loop that follows the streams.

pub(crate) mod feed;
pub(crate) mod hosts;
pub(crate) mod listener;
pub(crate) mod tls;
pub(crate) mod token;
