//! Who is in a room, a page at a time: a snapshot names the first 500 only.

use tutti_common::ids::{RoomId, UserId};

use crate::{domain::MemberSearch, error::RoomError, live::Member, service::Rooms};

/// How many members a search reads at once.
const BATCH: usize = 1_000;

/// How many of them one call looks at: a page of a search in a crowd may be shorter than its limit, and says where to go on.
const LOOKS_MAX: usize = 20_000;

/// Some members of a room, in order of joining.
#[derive(Clone, Debug)]
pub struct MemberPage {
    /// Those that were looked for.
    pub members: Vec<Member>,
    /// How many there are in the room, whatever was looked for.
    pub count: u32,
    /// The place after which to go on; `None` if there are no more.
    pub next: Option<u64>,
}

impl Rooms {
    /// Looks for members of a room, for one of them.
    pub async fn members(
        &self,
        user: UserId,
        room: RoomId,
        search: &MemberSearch,
    ) -> Result<MemberPage, RoomError> {
        let view = self.visible(user, room).await?;
        if view.seat(user).is_none() {
            return Err(RoomError::Forbidden);
        }
        let mut page = MemberPage {
            members: Vec::new(),
            count: view.count,
            next: search.after,
        };
        // One more than a page tells whether it is the last one.
        let at_once = if search.is_for_all() {
            search.limit + 1
        } else {
            BATCH
        };
        let mut looked_at = 0;
        while looked_at < LOOKS_MAX {
            let batch = self.live.members(room, page.next, at_once).await?;
            let is_last = batch.len() < at_once;
            looked_at += batch.len();
            for member in batch {
                if page.members.len() == search.limit {
                    return Ok(page);
                }
                page.next = Some(member.place);
                if search.matches(&member.username) {
                    page.members.push(member);
                }
            }
            if is_last {
                page.next = None;
                break;
            }
        }
        Ok(page)
    }
}
