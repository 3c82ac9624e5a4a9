import HTTP1
import Testing

/// A small generator of its own: this target knows nothing of the other cores.
private struct Dice {
  var state: UInt64
  mutating func roll(_ sides: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(truncatingIfNeeded: (state >> 33) % UInt64(sides))
  }
  mutating func pick<Element>(_ options: [Element]) -> Element { options[roll(options.count)] }
}

private let requests = [
  "POST /a?b HTTP/1.1\r\nHost: app\r\nContent-Length: 11\r\nX-Long: some value, with more\r\n\r\nhello worldGET / HTTP/1.1\r\n",
  "\r\nPUT / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nabcd\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nT: u\r\n\r\nrest",
  "GET / HTTP/1.0\r\n\r\n",
]
private let responses = [
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 ",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  "HTTP/1.0 503 Service Unavailable\r\nServer: x\r\n\r\nbody until the connection ends",
]

@Test func `a message cut in two at any place, or into single bytes, is the same message`() {
  for (kind, messages) in [(Kind.request, requests), (.response, responses)] {
    for message in messages {
      let bytes = Array(message.utf8)
      let whole = read(kind, bytes)
      #expect(whole.isComplete)
      for cut in 0...bytes.count { #expect(read(kind, bytes, cuts: [cut]) == whole) }
      #expect(read(kind, bytes, cuts: Array(0..<bytes.count)) == whole)
    }
  }
}

@Test func `damaged messages are read, or refused, alike however they are cut`() {
  var dice = Dice(state: 20_26)
  let alphabet = Array("\r\n\t :;,/0159aAfFxX\0\u{7F}".utf8) + [0x80, 0xFF]
  let limits = Limits(head: 96, startLine: 40, fields: 3, chunkLine: 8, trailers: 8)
  var refused = 0
  for round in 0..<4000 {
    let kind: Kind = round.isMultiple(of: 2) ? .request : .response
    var bytes = Array(dice.pick(kind == .request ? requests : responses).utf8)
    for _ in 0..<dice.roll(4) {
      let place = dice.roll(bytes.count)
      switch dice.roll(4) {
      case 0: bytes[place] = dice.pick(alphabet)
      case 1: bytes.insert(dice.pick(alphabet), at: place)
      case 2 where bytes.count > 1: bytes.remove(at: place)
      default: bytes.insert(contentsOf: bytes[place..<min(place + 12, bytes.count)], at: place)
      }
    }
    let chosen = round.isMultiple(of: 3) ? limits : Limits()
    let whole = read(kind, bytes, limits: chosen)
    if whole.error != nil { refused += 1 }
    let single = read(kind, bytes, cuts: Array(0..<bytes.count), limits: chosen)
    let some = read(kind, bytes, cuts: (0..<4).map { _ in dice.roll(bytes.count + 1) }.sorted(), limits: chosen)
    #expect(single == whole, "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
    #expect(some == whole, "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
  }
  // Both kinds of outcome must be common, or this tests little.
  #expect(refused > 800 && refused < 3600)
}
