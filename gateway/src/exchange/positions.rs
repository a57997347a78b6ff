//! Ids of the events that clients get: positions in the log that only this gateway's replicas can make, and that count
//! only for the caller, and in the place, that they were made for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::message::{Dialect, RelayId};
use crate::relay::{Admitted, Position};

/// Relay id, partition, offset, number in the stream.
const PAYLOAD: usize = 16 + 4 + 8 + 4;

/// Of the proof that follows it.
const PROOF: usize = 16;

/// Parts these proofs from any other that a key may be used for.
const PURPOSE: &[u8] = b"kamf position 1\0";

/// Makes and reads positions.
pub struct Positions {
    key: [u8; 32],
}

/// After which event of which exchange a client goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) id: RelayId,
    /// The last event that the client has; of a stream without one, whatever lay before its first.
    pub(super) position: Position,
    pub(super) sequence: u32,
}

/// The positions of one caller in one place.
#[derive(Clone)]
pub(super) struct Bound(Hmac<Sha256>);

impl Positions {
    /// `key` must stay secret, and be the same for all replicas and across restarts.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// Positions for `caller` (`tenant/name`) at `place`: an agent, or the name of a session.
    pub(super) fn bound(&self, caller: &str, dialect: Dialect, place: &str) -> Bound {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length");
        mac.update(PURPOSE);
        for part in [caller, dialect.protocol().as_str(), dialect.version(), place] {
            // Each with its length, so that no two lists of parts read alike.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Bound(mac)
    }

    /// Positions of the stream of `admitted`; `session` where its dialect has sessions.
    pub(super) fn of(&self, admitted: &Admitted, session: Option<&str>) -> Bound {
        let caller = format!("{}/{}", admitted.tenant, admitted.principal);
        let place = match admitted.dialect {
            Dialect::A2aV03 | Dialect::A2aV10 => &*admitted.agent,
            Dialect::McpLegacy => session.unwrap_or_default(),
            Dialect::McpModern => "",
        };
        self.bound(&caller, admitted.dialect, place)
    }
}

impl Bound {
    /// The id of an event.
    pub(super) fn write(&self, at: At) -> String {
        let mut token = [0; PAYLOAD + PROOF];
        token[..16].copy_from_slice(at.id.as_bytes());
        token[16..20].copy_from_slice(&at.position.partition.to_be_bytes());
        token[20..28].copy_from_slice(&at.position.offset.to_be_bytes());
        token[28..32].copy_from_slice(&at.sequence.to_be_bytes());
        let proof = self.proof(&token[..PAYLOAD]);
        token[PAYLOAD..].copy_from_slice(&proof);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The position that `text` is, if it was made for this caller and place.
    pub(super) fn read(&self, text: &str) -> Option<At> {
        let token: [u8; PAYLOAD + PROOF] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (payload, proof) = token.split_at(PAYLOAD);
        if !bool::from(proof.ct_eq(&self.proof(payload))) {
            return None;
        }
        Some(At {
            id: RelayId::from_bytes(payload[..16].try_into().ok()?),
            position: Position {
                partition: i32::from_be_bytes(payload[16..20].try_into().ok()?),
                offset: i64::from_be_bytes(payload[20..28].try_into().ok()?),
            },
            sequence: u32::from_be_bytes(payload[28..32].try_into().ok()?),
        })
    }

    fn proof(&self, payload: &[u8]) -> [u8; PROOF] {
        let mut mac = self.0.clone();
        mac.update(payload);
        let whole = mac.finalize().into_bytes();
        let mut proof = [0; PROOF];
        proof.copy_from_slice(&whole[..PROOF]);
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> At {
        At { id: RelayId::generate(), position: Position { partition: 7, offset: 1 << 40 }, sequence: 3 }
    }

    #[test]
    fn a_position_reads_back_for_the_same_caller_and_place_only() {
        let positions = Positions::new([1; 32]);
        let bound = positions.bound("demo/analyst", Dialect::A2aV10, "advisor");
        let (at, text) = (at(), bound.write(at()));
        assert_ne!(bound.read(&text), Some(at), "another exchange");
        let text = bound.write(at);
        assert_eq!(bound.read(&text), Some(at));
        assert_eq!(text.len(), 64);
        let others = [
            positions.bound("demo/treasurer", Dialect::A2aV10, "advisor"),
            positions.bound("demo/analyst", Dialect::A2aV03, "advisor"),
            positions.bound("demo/analyst", Dialect::A2aV10, "other"),
            positions.bound("demo/analystA", Dialect::A2aV10, "dvisor"),
            Positions::new([2; 32]).bound("demo/analyst", Dialect::A2aV10, "advisor"),
        ];
        for other in others {
            assert_eq!(other.read(&text), None);
        }
    }

    #[test]
    fn nothing_altered_is_a_position() {
        let bound = Positions::new([1; 32]).bound("demo/analyst", Dialect::McpLegacy, "s");
        let text = bound.write(at());
        for index in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(bound.read(&String::from_utf8(altered).unwrap()), None, "at {index}");
        }
        for text in ["", "7", &text[1..], &format!("{text}A"), &format!("{text}=")] {
            assert_eq!(bound.read(text), None, "{text}");
        }
    }
}
