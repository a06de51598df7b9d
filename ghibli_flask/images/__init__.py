"""Pictures: bytes in, bytes out. The names that services and jobs use."""

from ghibli_flask.images.ai_mark import DigitalSourceType as DigitalSourceType
from ghibli_flask.images.ai_mark import mark as mark
from ghibli_flask.images.ai_mark import read_mark as read_mark
from ghibli_flask.images.cards import main_colour as main_colour
from ghibli_flask.images.cards import share_card as share_card
from ghibli_flask.images.decode import size_of as size_of
from ghibli_flask.images.normalise import normalise as normalise
from ghibli_flask.images.picture import Picture as Picture
from ghibli_flask.images.shapes import Fit as Fit
from ghibli_flask.images.shapes import finish as finish
from ghibli_flask.images.shapes import fit as fit
from ghibli_flask.images.shapes import prepare as prepare
from ghibli_flask.images.thumbnails import THUMBNAIL_SIDE as THUMBNAIL_SIDE
from ghibli_flask.images.thumbnails import thumbnail as thumbnail
