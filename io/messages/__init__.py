"""What an email says: templates, headers, Message-IDs, unsubscribe links.

In come the texts of a step and the values of a contact; out comes an RFC 5322 message. `outcomes`
holds what may become of one that is handed to a transport.
"""
