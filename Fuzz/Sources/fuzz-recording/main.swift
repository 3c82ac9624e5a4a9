// Any bytes as a recording: it is replayed, or refused; what is read is written so that it reads the same.
//
// Input: bytes; where the first is odd the rest stands behind a valid header, which no fuzzer guesses the hash of.
import Basis
import Fuzzing
import Node
import VRRP
import Wire

let address = IPAddress.v4(IPv4Address(10, 0, 0, 100))
let settings = NodeSettings(
  name: "lb1",
  vips: [
    VIPSettings(
      name: "web", interface: "eth0", addresses: [address],
      election: .vrrp(
        VRRP.Settings(id: 51, family: .ipv4, priority: 254, interval: .milliseconds(100), addresses: [address])),
      lease: .seconds(1), drain: .seconds(1))
  ],
  services: [ServiceSettings(name: "web", vip: 0, backends: ["app1", "app2"], check: .init())])
let header = Recording.header(settings, seed: 1)

@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = Array(UnsafeBufferPointer(start: start, count: count))
  if let first = input.first, first & 1 == 1 { input = header + input.dropFirst() }
  _ = try? Replay(input)
  live(input)
  return 0
}

/// No fuzzer guesses the digests of decisions: a node lives the events and is recorded, and the replay must be identical.
func live(_ input: [UInt8]) {
  guard var reader = try? RecordingReader(input) else { return }
  var node = Node(reader.settings, seed: reader.seed)
  var writer = RecordingWriter()
  var bytes = Recording.header(reader.settings, seed: reader.seed)
  bytes.reserveCapacity(bytes.count + 64 * input.count + 4096)
  var events: [(Event, Instant)] = []
  while let item = try? reader.next() {
    guard case .event(let event, let at, _) = item else { continue }
    events.append((event, at))
    guard writer.write(event, at: at, into: &bytes) else { return }
    node.handle(event, at: at) { writer.decided($0) }
  }
  precondition(writer.finish(into: &bytes))
  guard let replay = try? Replay(bytes) else { preconditionFailure("what was written is not read") }
  precondition(replay.outcome == .identical && replay.events == events.count && !replay.isCut)

  guard var again = try? RecordingReader(bytes) else { preconditionFailure("the header is not read again") }
  var index = 0
  while let item = try? again.next() {
    guard case .event(let event, let at, _) = item else { continue }
    precondition(events[index] == (event, at))
    index += 1
  }
}
runFuzzer(feed)
