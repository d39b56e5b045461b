-- Pages of pending friend requests, newest first, however many there are.

CREATE INDEX friend_requests_received_pending ON friend_requests (receiver_id, created_at DESC, id DESC) WHERE status = 'pending';
CREATE INDEX friend_requests_sent_pending ON friend_requests (sender_id, created_at DESC, id DESC) WHERE status = 'pending';
