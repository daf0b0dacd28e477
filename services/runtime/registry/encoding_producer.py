"""Publishing messages whose values are encoded on the way."""

from collections.abc import Sequence

from services.runtime.broker.port import Message, Producer
from services.runtime.registry.port import MessageCodec


class EncodingProducer:
    """Fits `Producer`: what is handed in is Protobuf, what is published is what the codec makes of it.

    Dead letters don't go this way: they keep the bytes that came.
    """

    def __init__(self, producer: Producer, codec: MessageCodec) -> None:
        """Publish through `producer`."""
        self._producer = producer
        self._codec = codec

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order and return once all of them are durable.

        Raises:
            UnavailableError: Some may be published and some not; publish all again.
        """
        await self._producer.publish([await self._encoded(message) for message in messages])

    async def _encoded(self, message: Message) -> Message:
        value = await self._codec.encode(message.topic, message.value)
        if value is message.value:
            return message
        return Message(topic=message.topic, key=message.key, value=value, headers=message.headers)
