//! Asks one witness (C2SP tlog-witness, the side of the log).

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::record::witness::{Cosignatures, CosignerKey, submission};
use crate::shell::peer::{NoAnswer, PeerClient};
use crate::types::PartyId;

/// One witness of ours.
pub(super) struct Asker {
    pub(super) party: PartyId,
    pub(super) keys: Vec<CosignerKey>,
    pub(super) client: PeerClient,
}

/// What a witness says to a checkpoint.
pub(super) enum Said {
    /// It cosigned.
    Cosigned(Cosignatures),
    /// It has cosigned another size last.
    Has(u64),
    /// It says that the checkpoint does not continue what it saw.
    Contradicts,
}

/// Why a witness said nothing of use, as a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed(pub(super) String);

impl From<NoAnswer> for Failed {
    fn from(NoAnswer(code): NoAnswer) -> Self {
        Self(code.to_owned())
    }
}

impl From<&str> for Failed {
    fn from(code: &str) -> Self {
        Self(code.to_owned())
    }
}

impl Asker {
    /// Submits a checkpoint, with the proof that it continues the one of `old` entries.
    pub(super) async fn submit(&self, old: u64, proof: &[[u8; 32]], note: &str) -> Result<Said, Failed> {
        let body = Bytes::from(submission(old, proof, note));
        let reply = self.client.send(Method::POST, "/log/add-checkpoint", &body).await?;
        match reply.status {
            StatusCode::OK => match Cosignatures::read(note, &reply.text, &self.keys) {
                Ok(cosignatures) => Ok(Said::Cosigned(cosignatures)),
                Err(error) => {
                    tracing::warn!(witness = %self.party, %error, "a witness answered without a cosignature of its own");
                    Err("witness_cosignature_invalid".into())
                }
            },
            StatusCode::CONFLICT if reply.kind.starts_with("text/x.tlog.size") => {
                let size = reply.text.strip_suffix('\n').and_then(|size| size.parse().ok());
                size.map(Said::Has).ok_or_else(|| "witness_malformed".into())
            }
            StatusCode::UNPROCESSABLE_ENTITY => Ok(Said::Contradicts),
            _ => Err(Failed(reply.code())),
        }
    }

    /// The checkpoint that it cosigned last for the log whose origin has this SHA-256.
    pub(super) async fn held(&self, hash: &str) -> Result<String, Failed> {
        let reply = self.client.send(Method::GET, &format!("/log/witness/{hash}/checkpoint"), &Bytes::new()).await?;
        if reply.status == StatusCode::OK { Ok(reply.text) } else { Err(Failed(reply.code())) }
    }
}
