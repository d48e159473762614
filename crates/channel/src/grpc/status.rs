//! Failures as gRPC says them.

use clarion_observability::{Fields, Span, log, span};
use clarion_proto::v1;
use prost::Message;
use tonic::{Code, Status};

use crate::keys::Failure;
use crate::refusal::Refusal;

/// What a request came to, as it travels. The end of its span: what went wrong is said here, once.
pub(super) fn settle<T>(span: &Span, result: Result<T, Failure>) -> Result<T, Status> {
    result.map_err(|failure| match failure {
        Failure::Refused(refusal) => {
            if refusal.denies() {
                span.in_scope(|| log::AUTHZ_DENIED.emit(Fields::detail(refusal.message)));
            }
            refused(&refusal)
        }
        Failure::NotOwner => {
            span::fail(span, "not_owner");
            Status::failed_precondition("not the owner of this key")
        }
        Failure::Unavailable(why) => {
            span::fail(span, "unavailable");
            Status::unavailable(why)
        }
    })
}

/// A refusal, with what the client is to be told in the details.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal.status {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        _ => Code::InvalidArgument,
    };
    let fields = refusal.fields.iter().map(|wrong| v1::FieldError {
        field: wrong.field.to_owned(),
        code: wrong.code.to_owned(),
        message: wrong.message.to_string(),
    });
    let details = v1::Refusal {
        status: refusal.status.into(),
        code: refusal.code,
        message: refusal.message.to_owned(),
        fields: fields.collect(),
    };
    Status::with_details(code, refusal.message, details.encode_to_vec().into())
}

/// A peer sent what the contract does not allow.
pub(super) fn invalid(error: &clarion_proto::convert::Invalid) -> Status {
    Status::invalid_argument(error.to_string())
}
