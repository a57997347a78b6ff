use kafka_protocol::messages::RequestKind;

use super::super::apis::APIS;
use super::super::{samples, shapes};
use super::*;

#[test]
fn the_shape_of_every_request_in_every_version_is_known() {
    for api in APIS {
        for version in api.min..=api.max {
            let whole = samples::encoded(api, version);
            let passes =
                |bytes: &[u8]| check(bytes, shapes::of(api.key), version, api.is_flexible(version)).is_ok();
            assert!(passes(&whole), "{:?} v{version}", api.key);
            for end in 0..whole.len() {
                assert!(!passes(&whole[..end]), "{:?} v{version} cut to {end} of {}", api.key, whole.len());
            }
        }
    }
}

/// What passes the check is decoded without a panic and without more memory than the frame accounts for.
#[test]
fn damaged_requests_are_refused_or_decoded() {
    for api in APIS {
        for version in api.min..=api.max {
            let whole = samples::encoded(api, version);
            for at in 0..whole.len() {
                for flip in [0xff, 0x80, 0x01, 0x7f] {
                    let mut bytes = whole.to_vec();
                    bytes[at] ^= flip;
                    if check(&bytes, shapes::of(api.key), version, api.is_flexible(version)).is_ok() {
                        let _ = RequestKind::decode(api.key, &mut bytes.into(), version);
                    }
                }
            }
        }
    }
}

#[test]
fn a_count_of_billions_in_a_few_bytes_is_refused() {
    let fields = &[Field::Array(&[Field::Text])];
    assert_eq!(check(&[0x7f, 0xff, 0xff, 0xff, 0, 0], fields, 0, false), Err(Malformed));
    assert_eq!(check(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], fields, 0, true), Err(Malformed));
    assert_eq!(check(&[0xff, 0xff, 0xff, 0xff], fields, 0, false), Ok(()), "-1 stands for none");
}
