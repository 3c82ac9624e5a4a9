import CLinux
import Glibc
import Wire

/// Removes from this host what a journal names, and nothing else: at the start of a life, and for `roost release`, without a daemon.
public struct Sweeper {
  /// What was done.
  public struct Outcome: Sendable {
    public var removed: [Removal] = []
    /// What could not be done, in words.
    public var troubles: [String] = []
    /// What else people should know.
    public var notes: [String] = []
  }

  /// Removes everything that the journal at that path names from the calling thread's network namespace: addresses, devices, the
  /// firewall's table; and the journal, if all went well. No daemon may be running on it.
  public static func release(journal path: String) throws(SystemError) -> Outcome {
    let file = JournalFile(path: path)
    let reading = file.read()
    guard let journal = reading.journal else { return Outcome(removed: [], troubles: reading.troubles) }
    var outcome = try Sweeper(requests: NetlinkSocket()).sweep(journal)
    if outcome.troubles.isEmpty { file.remove() }
    outcome.notes = reading.troubles
    return outcome
  }

  let requests: NetlinkSocket

  /// - Parameter keeping: addresses that a new life goes on with; their devices, and what these need, stay as well.
  func sweep(_ journal: AddressJournal, keeping: Set<IPAddress> = []) throws(SystemError) -> Outcome {
    var outcome = Outcome()
    let here = AddressJournal.ofThisHost()
    // Another boot began with nothing.
    guard journal.boot == here.boot else { return outcome }
    guard journal.namespace == here.namespace else {
      outcome.troubles.append(
        "the journal is of another network namespace (\(journal.namespace)): what was left there can't be removed from here"
      )
      return outcome
    }
    var table = InterfaceTable()
    table.load(try requests.links(), try requests.addresses())
    for place in journal.places where !keeping.contains(place.address) {
      try remove(place, in: table, &outcome)
    }
    guard keeping.isEmpty else { return outcome }
    for name in journal.devices {
      guard let link = table.link(named: name), link.isVirtualRouter else { continue }
      let code = try requests.perform { $0.appendRemoval(ofLink: link.index, sequence: $1) }
      outcome.note(code, .device(name), "RTM_DELLINK")
    }
    for setting in journal.settings where Sysctl.read(setting.path) == setting.after {
      do throws(SystemError) {
        try Sysctl.write(setting.before, to: setting.path)
        outcome.removed.append(.setting(setting.path, value: setting.before))
      } catch {
        outcome.troubles.append("\(error)")
      }
    }
    for name in journal.tables where name == AcceptTable.name {
      do throws(SystemError) {
        try NFT.load(AcceptTable.removal)
        outcome.removed.append(.table(name))
      } catch {
        outcome.troubles.append("\(error)")
      }
    }
    return outcome
  }

  /// The interface may have another name or index by now, but hardly both. The loopback interface is left alone: there a backend
  /// holds the VIP whose packets it answers itself.
  private func remove(_ place: AddressJournal.Place, in table: InterfaceTable, _ outcome: inout Outcome)
    throws(SystemError)
  {
    for link in table.links where !link.isLoopback && (link.name == place.interface || link.index == place.index) {
      for record in table.addresses[link.index] ?? [] where record.address == place.address && record.isMadeByRoost {
        var code: Int32 = 0
        code = try requests.perform { $0.append(.remove, place.address, on: link.index, sequence: $1) }
        outcome.note(code, .address(place.address, interface: link.name), "RTM_DELADDR")
      }
    }
  }
}

extension Sweeper.Outcome {
  fileprivate mutating func note(_ code: Int32, _ removal: Removal, _ call: String) {
    switch code {
    case 0: removed.append(removal)
    case EADDRNOTAVAIL, ENODEV: break  // gone meanwhile
    default: troubles.append("\(SystemError(call: call, code: code, subject: "\(removal)"))")
    }
  }
}
