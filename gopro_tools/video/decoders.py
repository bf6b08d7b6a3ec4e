"""FFmpeg's decoder of a stream, and another one where the stream's headers change."""

from collections.abc import Callable

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from gopro_tools.video.headers import headers_of
from gopro_tools.video.packets import Packet

Opened = tuple[InputContainer, VideoStream]
_FORMATS_WITH_TAGS = ("mp4", "matroska")
"""Containers with their own tags, which hold for the whole file."""


class Decoders:
    """The decoder of a stream, and another one where its headers change."""

    def __init__(
        self,
        open_stream: Callable[[int], Opened],
        container: InputContainer,
        stream: VideoStream,
        headers: bytes,
        threads: int,
    ) -> None:
        self._open = open_stream
        self._threads = threads
        self._first_headers = self._headers = headers
        self._has_tags = any(name in container.format.name for name in _FORMATS_WITH_TAGS)
        self._others: list[InputContainer] = []
        self.alone = False
        """See `gopro_tools.video.pictures.Sample`."""
        self.current = stream.codec_context

    def changes_at(self, keyframe: Packet) -> bool:
        """Whether this keyframe brings headers other than those in force."""
        headers = headers_of(keyframe)
        return bool(headers) and headers != self._headers

    def change(self, keyframe: Packet) -> None:
        """Switch to a new decoder for what follows."""
        self._headers = headers_of(keyframe)
        self.alone = self._headers != self._first_headers and not self._has_tags
        if self.alone:
            self.renew(keyframe)
            return
        self.current.flush_buffers()
        container, stream = self._open(self._threads)
        self._others.append(container)
        self.current = stream.codec_context

    def renew(self, packet: Packet) -> None:
        """Switch to a new decoder that knows only the stream."""
        self.current.flush_buffers()
        self.current = new_decoder(packet.stream.codec_context)

    def close(self) -> None:
        """Let the decoder's threads finish: one may be about to log when it is freed."""
        self.current.flush_buffers()
        for container in self._others:
            container.close()


def new_decoder(like: av.VideoCodecContext) -> av.VideoCodecContext:
    """A fresh decoder with the headers and the settings of another."""
    decoder = av.CodecContext.create(like.name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = like.extradata
    decoder.thread_count, decoder.thread_type = like.thread_count, like.thread_type
    decoder.options, decoder.flags = like.options, like.flags
    return decoder
