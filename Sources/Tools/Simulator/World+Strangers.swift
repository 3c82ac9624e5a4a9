import Basis
import VRRP

// Somebody on the link who is no node.

extension World {
  mutating func beginRogue(_ priority: UInt8, for length: Int64) {
    // Where nothing is promised against it, it is no fault but the end of everything.
    guard adverts.isPromised else { return }
    rogueSpeaks(jobs.put(.rogue(Rogue(priority: priority, until: now + length))))
  }

  mutating func rogueSpeaks(_ slot: Int) {
    guard let job = jobs.take(slot), case .rogue(let rogue) = job, now < rogue.until else { return }
    if let message = adverts.forged(priority: rogue.priority),
      let interface = files.running.first?.vips.first?.interface
    {
      let packet = packets.put(message, from: Rogue.source, interface: interface, to: Self.group)
      packets.addCopy(packet)
      for node in 0..<nodes where picture.network.isConnected(node) {
        arrive(packet, at: node, after: picture.network.weather.latency + Int64(random.next(below: 60_000)))
      }
      packets.drop(packet)
    }
    queue.add(.rogue, at: now + Rogue.pause, slot: jobs.put(.rogue(rogue)))
  }
}
