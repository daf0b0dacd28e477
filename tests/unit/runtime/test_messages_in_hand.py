"""What a consumer loop has in hand, message by message."""

from services.runtime.broker.port import ReceivedMessage
from services.runtime.messages_in_hand import MessagesInHand


def a_message(partition: int, offset: int) -> ReceivedMessage:
    return ReceivedMessage(topic="topic", key=b"", value=b"", headers={}, partition=partition, offset=offset)


def test_only_what_is_done_before_the_first_that_is_not_is_let_go_of_each_partition() -> None:
    messages = [a_message(partition, offset) for offset in range(3) for partition in (0, 1)]
    in_hand = MessagesInHand()
    in_hand.take(messages)
    in_hand.note_done([a_message(0, 0), a_message(0, 2), a_message(1, 0), a_message(1, 1)])

    in_front = in_hand.take_done_in_front()

    assert in_front == [a_message(0, 0), a_message(1, 0), a_message(1, 1)]
    assert in_hand.left == [a_message(0, 1), a_message(1, 2)]
    assert in_hand.messages == [a_message(0, 1), a_message(0, 2), a_message(1, 2)]
    assert in_hand.take_done_in_front() == []


def test_nothing_is_done_of_what_is_taken_next() -> None:
    in_hand = MessagesInHand()
    in_hand.take([a_message(0, 0)])
    in_hand.note_done(in_hand.messages)

    in_hand.take([a_message(0, 0)])

    assert in_hand.left == [a_message(0, 0)]
