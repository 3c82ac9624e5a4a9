import Basis
import CLinux
import Glibc
import Wire

/// Takes addresses off interfaces, and keeps them off: for whoever has to do it without the address thread. It belongs to one thread.
public final class AddressEraser {
  public struct Target: Sendable, Hashable {
    public var address: IPAddress
    /// The interface's index.
    public var interface: Int32
    /// It is the device of a virtual MAC, which hears nothing any more when the address is gone (`lower`).
    public var isVirtual: Bool

    public init(_ address: IPAddress, on interface: Int32, isVirtual: Bool = false) {
      self.address = address
      self.interface = interface
      self.isVirtual = isVirtual
    }

    public func isSamePlace(as other: Target) -> Bool { address == other.address && interface == other.interface }
  }

  private let requests: NetlinkSocket
  private var monitor: NetlinkSocket?
  private var batch = NetlinkBatch()
  private var results: [Int32] = []

  public init() throws(SystemError) { requests = try NetlinkSocket() }

  /// So that all answers fit into the socket's buffer.
  private static let batchLimit = 256

  /// Removes them, in as few system calls as there can be. Gives the first error that is not "it is not there".
  @discardableResult
  public func erase(_ targets: [Target]) -> SystemError? {
    var first: SystemError?
    var rest = targets[...]
    while !rest.isEmpty {
      batch.removeAll()
      for target in rest.prefix(Self.batchLimit) {
        batch.append(.remove, target.address, on: target.interface, sequence: requests.nextSequence())
      }
      do throws(SystemError) {
        try requests.perform(batch, &results)
        for (target, code) in zip(rest, results) where first == nil && !AddressKeeper.isGone(code) {
          first = SystemError(call: "RTM_DELADDR", code: code, subject: "\(target.address)")
        }
      } catch {
        first = first ?? error
      }
      rest = rest.dropFirst(Self.batchLimit)
    }
    return first
  }

  /// Sets the devices of virtual MACs among them down: a packet for the virtual router is another's to forward. It takes the kernel
  /// longer than an address, so it comes second. Gives the first error that is not "it is not there".
  @discardableResult
  public func lower(_ targets: [Target]) -> SystemError? {
    var first: SystemError?
    for device in Set(targets.lazy.filter(\.isVirtual).map(\.interface)).sorted() {
      do throws(SystemError) {
        let code = try VirtualDevice.set(up: false, device, requests)
        if first == nil, !AddressKeeper.isGone(code) {
          first = SystemError(call: "RTM_NEWLINK", code: code, subject: "device \(device) down")
        }
      } catch {
        first = first ?? error
      }
    }
    return first
  }

  /// From now on `readAdded` tells what is added. Gives the descriptor that is readable then.
  public func beginWatching() throws(SystemError) -> Int32 {
    if let monitor { return monitor.descriptor }
    let monitor = try NetlinkSocket(groups: clinux_rtmgrp_ipv4_ifaddr | clinux_rtmgrp_ipv6_ifaddr)
    self.monitor = monitor
    return monitor.descriptor
  }

  public func endWatching() { monitor = nil }

  /// Calls `body` with each address that was added, or renewed. False where some were missed.
  public func readAdded(_ body: (Target) -> Void) -> Bool {
    guard let monitor else { return true }
    var isWhole = true
    while true {
      do throws(SystemError) {
        guard let datagram = try monitor.receive() else { return isWhole }
        NetlinkMessage.forEach(in: datagram) { _, message in
          if case .address(let record, removed: false) = message { body(Target(record.address, on: record.index)) }
        }
      } catch {
        isWhole = false
        if error.code != ENOBUFS { return false }
      }
    }
  }
}
