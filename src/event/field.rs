//! The names of the parsed fields, as one set for all objects of an event.

/// Defines the enum and the conversions between it and the names of the payload.
macro_rules! fields {
    ($($variant:ident = $name:literal,)*) => {
        /// A field, identified by its name regardless of the object that contains it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Field {
            $($variant,)*
            /// Any field that is not parsed.
            Other,
        }

        impl Field {
            /// Returns the field of a key.
            pub(crate) fn of(key: &str) -> Self {
                match key {
                    $($name => Field::$variant,)*
                    _ => Field::Other,
                }
            }

            /// Returns the key, for the path of a fault. Empty for `Other`.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Field::$variant => $name,)*
                    Field::Other => "",
                }
            }
        }
    };
}

fields! {
    EventId = "EventId",
    TimeStamp = "TimeStamp",
    TotalVictimKillFame = "TotalVictimKillFame",
    Killer = "Killer",
    Victim = "Victim",
    Participants = "Participants",
    GroupMembers = "GroupMembers",
    BattleId = "BattleId",
    NumberOfParticipants = "numberOfParticipants",
    GroupMemberCount = "groupMemberCount",
    KillArea = "KillArea",
    Category = "Category",
    Type = "Type",
    Location = "Location",
    Version = "Version",
    GvGMatch = "GvGMatch",
    Server = "server",
    Region = "region",
    SourceRegion = "source_region",
    Id = "Id",
    Name = "Name",
    GuildId = "GuildId",
    GuildName = "GuildName",
    AllianceId = "AllianceId",
    AllianceName = "AllianceName",
    AverageItemPower = "AverageItemPower",
    KillFame = "KillFame",
    DeathFame = "DeathFame",
    DamageDone = "DamageDone",
    SupportHealingDone = "SupportHealingDone",
    LifetimeStatistics = "LifetimeStatistics",
    Equipment = "Equipment",
    Inventory = "Inventory",
    Quality = "Quality",
    Count = "Count",
    LegendarySoul = "LegendarySoul",
    MainHand = "MainHand",
    OffHand = "OffHand",
    Head = "Head",
    Armor = "Armor",
    Shoes = "Shoes",
    Bag = "Bag",
    Cape = "Cape",
    Mount = "Mount",
    Potion = "Potion",
    Food = "Food",
}
