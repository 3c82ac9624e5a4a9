import Basis
import CLinux
import Testing

@testable import Proxy

/// The far sides of one connection as the storm knows them: what each has sent and is to receive.
private struct Pair {
  var client: Int32
  var backend: Int32 = -1
  var toBackend: [UInt8] = []
  var toClient: [UInt8] = []
  var isOver = false
}

/// Random weather on the played kernel: chunks, short writes, full sockets, faults, ends and resets in any order.
struct StormTests {
  @Test(arguments: 0..<40 as Range<UInt64>)
  func `Whatever the kernel does, bytes arrive in order and nothing leaks`(seed: UInt64) throws {
    var dice = SplitMix64(seed: seed)
    let options = ProxyOptions(bufferBytes: seed % 3 == 0 ? 0 : 1 << 20, pipes: seed % 4 == 0 ? 0 : 2)
    let stage = try Stage(options: options)
    var pairs = (0..<4).map { _ in
      let (client, backend) = stage.connected()
      return Pair(client: client, backend: backend)
    }
    stage.kernel.mouthful = seed % 2 == 0 ? .max : 1 + Int(dice.next(below: 5000))
    for _ in 0..<300 {
      let index = Int(dice.next(below: UInt64(pairs.count)))
      if !pairs[index].isOver { Self.weather(&pairs[index], stage.kernel, &dice) }
      if dice.next(below: 3) == 0 { stage.turn() }
      if dice.next(below: 10) == 0 { stage.pass(milliseconds: Int64(dice.next(below: 20))) }
    }
    Self.calm(pairs, stage)
    for pair in pairs {
      Self.expectPrefixes(pair, stage.kernel)
      if !pair.isOver {
        #expect(stage.kernel.sockets[pair.backend]?.sent.count == pair.toBackend.count)
        #expect(stage.kernel.sockets[pair.client]?.sent.count == pair.toClient.count)
        #expect(stage.kernel.sockets[pair.client]?.wasAborted == false)
      }
    }
    #expect(stage.kernel.openSockets == [])
    #expect(stage.kernel.complaints == [])
    #expect(stage.sum.connections == 0)
    #expect(stage.sum.backends.allSatisfy { $0.connections == 0 })
  }

  private static func weather(_ pair: inout Pair, _ kernel: PlayedKernel, _ dice: inout SplitMix64) {
    let towardsBackend = dice.next(below: 2) == 0
    let half = towardsBackend ? pair.client : pair.backend
    switch dice.next(below: 20) {
    case 0..<10:
      guard kernel.sockets[half]?.hasEnded == false else { return }
      let start = towardsBackend ? pair.toBackend.count : pair.toClient.count
      let bytes = (0..<Int(dice.next(below: dice.next(below: 12) == 0 ? 20_000 : 300))).map {
        UInt8(truncatingIfNeeded: (start + $0) &* 167 >> 3)
      }
      if towardsBackend { pair.toBackend += bytes } else { pair.toClient += bytes }
      kernel.deliver(bytes, to: half)
    case 10..<12: kernel.makeRoom(0, on: half)
    case 12..<15: kernel.makeRoom(Int(dice.next(below: 3000)), on: half)
    case 15: kernel.sendFaults.append(dice.next(below: 2) == 0 ? -EINTR : -ENOBUFS)
    case 16: kernel.receiveFaults.append(dice.next(below: 2) == 0 ? -EINTR : -ENOMEM)
    case 17: kernel.pipeFaults.append(-EMFILE)
    case 18: if dice.next(below: 6) == 0 { kernel.end(half) }
    default:
      if dice.next(below: 12) == 0 {
        kernel.reset(half)
        pair.isOver = true
      }
    }
  }

  /// The storm is over: everyone takes what there is and ends.
  private static func calm(_ pairs: [Pair], _ stage: Stage) {
    stage.kernel.sendFaults = []
    stage.kernel.receiveFaults = []
    stage.kernel.mouthful = .max
    for pair in pairs {
      stage.kernel.makeRoom(.max, on: pair.client)
      stage.kernel.makeRoom(.max, on: pair.backend)
    }
    for _ in 0..<100 { stage.pass(milliseconds: 20) }
    for pair in pairs {
      stage.kernel.end(pair.client)
      stage.kernel.end(pair.backend)
    }
    for _ in 0..<20 { stage.pass(milliseconds: 20) }
  }

  private static func expectPrefixes(_ pair: Pair, _ kernel: PlayedKernel) {
    let (atBackend, atClient) = (kernel.sockets[pair.backend]?.sent ?? [], kernel.sockets[pair.client]?.sent ?? [])
    #expect(atBackend.count <= pair.toBackend.count && atBackend.elementsEqual(pair.toBackend.prefix(atBackend.count)))
    #expect(atClient.count <= pair.toClient.count && atClient.elementsEqual(pair.toClient.prefix(atClient.count)))
  }
}
