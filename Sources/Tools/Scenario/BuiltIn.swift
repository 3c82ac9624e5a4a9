extension Scenario {
  /// The scenarios that come with the program, in the order in which they are run.
  ///
  /// Their files are compiled in, so that the one binary is all that is needed; a test reads each of them.
  public static let builtIn: [Scenario] = builtInFiles.map { file in
    do {
      return try Scenario(reading: file.bytes, file: file.name + ".scenario")
    } catch {
      // Only reachable by a build whose own tests failed.
      fatalError("a built-in scenario is wrong\n\(error)")
    }
  }

  /// The built-in scenario of that name.
  public static func builtIn(named name: String) -> Scenario? { builtIn.first { $0.name == name } }

  /// The text of each built-in file, to show and to start one's own from.
  public static var builtInTexts: [(name: String, text: String)] {
    builtInFiles.map { ($0.name, String(decoding: $0.bytes, as: UTF8.self)) }
  }
}

private let builtInFiles: [(name: String, bytes: [UInt8])] = [
  ("polite-stop", PackageResources.polite_stop_scenario),
  ("owner-killed", PackageResources.owner_killed_scenario),
  ("all-killed", PackageResources.all_killed_scenario),
  ("owner-stalled", PackageResources.owner_stalled_scenario),
  ("node-dead", PackageResources.node_dead_scenario),
  ("link-down", PackageResources.link_down_scenario),
  ("partition", PackageResources.partition_scenario),
  ("adverts-lost", PackageResources.adverts_lost_scenario),
  ("rogue-advert", PackageResources.rogue_advert_scenario),
  ("hand-over", PackageResources.hand_over_scenario),
  ("standby", PackageResources.standby_scenario),
  ("rolling-change", PackageResources.rolling_change_scenario),
  ("reload", PackageResources.reload_scenario),
  ("upgrade", PackageResources.upgrade_scenario),
  ("returning-node", PackageResources.returning_node_scenario),
  ("clock-jump", PackageResources.clock_jump_scenario),
  ("guardian-killed", PackageResources.guardian_killed_scenario),
  ("address-removed", PackageResources.address_removed_scenario),
  ("rtnl-busy", PackageResources.rtnl_busy_scenario),
  ("hog", PackageResources.hog_scenario),
  ("interface-renamed", PackageResources.interface_renamed_scenario),
  ("interface-removed", PackageResources.interface_removed_scenario),
  ("many-instances", PackageResources.many_instances_scenario),
  ("backend-killed", PackageResources.backend_killed_scenario),
]
