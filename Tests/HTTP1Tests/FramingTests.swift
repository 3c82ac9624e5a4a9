import HTTP1
import Testing

private func framed(_ fields: String, version: String = "1.1") -> Reading {
  request("POST / HTTP/\(version)\r\nHost: a\r\n\(fields)\r\n")
}

@Test(arguments: [
  ("Content-Length: 1\r\nContent-Length: 1\r\n", MessageError.repeatedContentLength),
  ("Content-Length: 1\r\nContent-Length: 2\r\n", .repeatedContentLength),
  ("Content-Length: 1, 1\r\n", .invalidContentLength),
  ("Content-Length: +1\r\n", .invalidContentLength),
  ("Content-Length: -1\r\n", .invalidContentLength),
  ("Content-Length: 0x1\r\n", .invalidContentLength),
  ("Content-Length: 1 1\r\n", .invalidContentLength),
  ("Content-Length:\r\n", .invalidContentLength),
  ("Content-Length: 9223372036854775808\r\n", .invalidContentLength),
  ("Content-Length: 99999999999999999999999\r\n", .invalidContentLength),
  ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", .lengthAndTransferEncoding),
  ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", .lengthAndTransferEncoding),
  ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", .lengthAndTransferEncoding),
  ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding: chunked, chunked\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding: gzip, chunked\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding: chunked, identity\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding: identity\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding: xchunked\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding: chunked;q=1\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding: \"chunked\"\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding:\r\n", .unsupportedTransferEncoding),
  ("Transfer-Encoding:\u{0B}chunked\r\n", .invalidFieldValue),
  ("Transfer-Encoding : chunked\r\n", .spaceBeforeColon),
  ("X: y\r\n Transfer-Encoding: chunked\r\n", .foldedField),
  ("X: y\nTransfer-Encoding: chunked\r\n", .bareLineFeed),
  ("X: y\rTransfer-Encoding: chunked\r\n", .bareCarriageReturn),
  ("\u{0B}Transfer-Encoding: chunked\r\n", .invalidFieldName),
])
func `a body whose end two parsers could see in two places is refused`(fields: String, error: MessageError) {
  #expect(framed(fields).error == error)
}

@Test func `an HTTP 1 0 message has no transfer coding`() {
  #expect(framed("Transfer-Encoding: chunked\r\n", version: "1.0").error == .unexpectedTransferEncoding)
}

@Test func `the framing is what the fields declare`() {
  #expect(framed("").framing == Framing.none)
  #expect(framed("Content-Length: 0\r\n").framing == Framing.none)
  #expect(framed("Content-Length: 0007\r\n").framing == .length(7))
  #expect(framed("content-length: 9223372036854775807\r\n").framing == .length(UInt64(Int64.max)))
  #expect(framed("TRANSFER-ENCODING: Chunked\r\n").framing == .chunked)
}

@Test(arguments: [100, 101, 103, 204, 304])
func `an answer that never has a body has none, whatever it declares`(status: Int) {
  let reading = response("HTTP/1.1 \(status) X\r\nContent-Length: 5\r\n\r\n")
  #expect(reading.framing == Framing.none)
  #expect(reading.isComplete)
}

@Test func `the answer to HEAD has no body`() {
  let reading = read(.answerToHead, Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".utf8))
  #expect(reading.framing == Framing.none)
  #expect(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").error == .truncated)
}

@Test func `an interim answer with a transfer coding is refused`() {
  #expect(response("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n").error == .unexpectedTransferEncoding)
}

private func chunked(_ body: String, limits: Limits = Limits()) -> Reading {
  response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body, limits: limits)
}

@Test func `chunks are put together and what follows is left alone`() {
  let reading = chunked("3\r\nabc\r\nA;x=\"y;z\"\r\n0123456789\r\n0001 ; n\r\n!\r\n000\r\nT: v\r\nU:\r\n\r\nHTTP/1.1")
  #expect(reading.error == nil)
  #expect(String(decoding: reading.body, as: UTF8.self) == "abc0123456789!")
  #expect(reading.rest == 8)
}

@Test(arguments: [
  ("\r\n", MessageError.invalidChunkSize), ("g\r\n", .invalidChunkSize), ("0x3\r\nabc\r\n", .invalidChunkSize),
  ("-1\r\n", .invalidChunkSize), (" 3\r\nabc\r\n", .invalidChunkSize), ("+3\r\nabc\r\n", .invalidChunkSize),
  ("3 \r\nabc\r\n", .invalidChunkExtension), ("3 x\r\nabc\r\n", .invalidChunkExtension),
  ("8000000000000000\r\n", .invalidChunkSize), ("00000000000000003\r\nabc\r\n", .invalidChunkSize),
  ("FFFFFFFFFFFFFFFFF\r\n", .invalidChunkSize),
  ("3\nabc\r\n", .bareLineFeed), ("3\rabc\r\n", .bareCarriageReturn), ("3;a\nabc\r\n", .bareLineFeed),
  ("3;a\rb\r\nabc\r\n", .bareCarriageReturn), ("3;a\0b\r\nabc\r\n", .invalidChunkExtension),
  ("3\r\nabcd\r\n", .invalidChunkEnd), ("3\r\nabc\n", .invalidChunkEnd), ("3\r\nabc\rX", .invalidChunkEnd),
  ("0\r\n\n", .bareLineFeed), ("0\r\n\rX", .bareCarriageReturn), ("0\r\n X: y\r\n\r\n", .foldedField),
  ("0\r\nX\r\n\r\n", .invalidFieldName), ("0\r\nX : y\r\n\r\n", .spaceBeforeColon),
  ("0\r\nX: \0\r\n\r\n", .invalidFieldValue),
  ("3\r\nab", .truncated), ("0\r\n", .truncated), ("0\r\nX: y\r\n", .truncated),
])
func `a chunk that is not as the RFC says is refused`(body: String, error: MessageError) {
  #expect(chunked(body).error == error)
}

@Test func `the largest chunk size is below the sign bit`() {
  #expect(chunked("7FFFFFFFFFFFFFFF\r\nabc").error == .truncated)
}

@Test func `size lines and trailers have limits`() {
  let long = "1;" + String(repeating: "x", count: 300) + "\r\na\r\n0\r\n\r\n"
  #expect(chunked(long).error == .chunkLineTooLong(limit: 256))
  #expect(chunked(long, limits: Limits(chunkLine: 400)).error == nil)
  let trailers = "0\r\n" + String(repeating: "a: b\r\n", count: 2000) + "\r\n"
  #expect(chunked(trailers).error == .trailersTooLarge(limit: 8192))
}

@Test func `a body without an end of its own ends with the connection, a shorter one than declared is truncated`() {
  #expect(response("HTTP/1.1 200 OK\r\n\r\nall of it").isComplete)
  #expect(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour").error == .truncated)
}
