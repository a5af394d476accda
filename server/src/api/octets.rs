//! How the document names bytes that are no JSON.

use utoipa::ToSchema;

/// Bytes, as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(crate) struct Octets(#[expect(dead_code, reason = "it is a name alone")] Vec<u8>);
