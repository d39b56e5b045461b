//! Prints what happens in a room, until it ends:
//!
//!     cargo run -p tutti-proto --example watch_room -- http://127.0.0.1:50052 <service key> room_…

use std::{env, error::Error};

use tonic::{Request, transport::Endpoint};
use tutti_proto::rooms::{RoomEvent, WatchRoomRequest, room_service_client::RoomServiceClient};

pub(crate) async fn watch(
    [address, key, room_id]: [String; 3],
    mut hear: impl FnMut(RoomEvent),
) -> Result<(), Box<dyn Error>> {
    let channel = Endpoint::from_shared(address)?.connect().await?;
    let mut request = Request::new(WatchRoomRequest { room_id });
    let bearer = format!("Bearer {key}").parse()?;
    request.metadata_mut().insert("authorization", bearer);
    let answer = RoomServiceClient::new(channel).watch_room(request).await?;
    let mut events = answer.into_inner();
    while let Some(answer) = events.message().await? {
        answer.event.into_iter().for_each(&mut hear);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    let arguments = arguments
        .try_into()
        .map_err(|_| "address, key and room id are needed")?;
    watch(arguments, |event| println!("{event:#?}")).await
}
