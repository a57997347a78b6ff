//! What happens to gateways and their log.

use std::time::Duration;

use crate::common::Result;
use crate::common::scene::{NAMES, Scene};

/// Shorter than anybody waits for anything.
const HICCUP: Duration = Duration::from_millis(700);

/// Long enough for a gateway's partitions to be given to the other.
const TAKEN_OVER: Duration = Duration::from_secs(9);

/// Longer than a client waits for an acknowledgement.
const UNHEARD: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    KillGateway,
    FreezeGateway,
    FreezeGatewayLong,
    KillLog,
    FreezeLog,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] =
        [Self::KillGateway, Self::FreezeGateway, Self::FreezeGatewayLong, Self::KillLog, Self::FreezeLog];

    /// The fault with this number, from 1: of eight, four kill a gateway and one each does something else.
    pub(crate) fn of(number: usize) -> Self {
        match number % 8 {
            2 => Self::FreezeGateway,
            4 => Self::KillLog,
            6 => Self::FreezeGatewayLong,
            0 => Self::FreezeLog,
            _ => Self::KillGateway,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillGateway => "gateway killed (SIGKILL) and started again",
            Self::FreezeGateway => "gateway stopped for 0.7 s (SIGSTOP, SIGCONT)",
            Self::FreezeGatewayLong => "gateway stopped for 9 s, its partitions taken over",
            Self::KillLog => "log killed and started again",
            Self::FreezeLog => "log stopped for 6 s",
        }
    }

    /// Lets it happen, and pass.
    pub(crate) async fn happen(self, scene: &mut Scene, number: usize) -> Result {
        let which = number / 2 % NAMES.len();
        match self {
            Self::KillGateway => {
                scene.gateways[which].kill().await?;
                scene.gateways[which].restart().await
            }
            Self::FreezeGateway => freeze(scene, which, HICCUP).await,
            Self::FreezeGatewayLong => freeze(scene, which, TAKEN_OVER).await,
            Self::KillLog => {
                scene.bed.kill().await?;
                scene.bed.restart().await
            }
            Self::FreezeLog => {
                scene.bed.freeze()?;
                // The silence itself is the fault: its end is a time, not a state.
                tokio::time::sleep(UNHEARD).await;
                scene.bed.thaw()
            }
        }
    }
}

async fn freeze(scene: &Scene, which: usize, time: Duration) -> Result {
    let gateway = &scene.gateways[which];
    let fault = async {
        gateway.freeze()?;
        tokio::time::sleep(time).await;
        gateway.thaw()
    };
    scene.proof.freezing(&[NAMES[which]], fault).await
}
